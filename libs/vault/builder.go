package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

const (
	// PackBytes is where a pack is closed. Measured: 32 MiB costs the same CPU and
	// holds twice as much back when a process dies.
	PackBytes = 16 << 20
	// PackEntriesMax bounds the table: 65,536 entries of 44 bytes are 2.75 MiB. A full
	// pack of 64 KiB chunks has about 500.
	PackEntriesMax = 1 << 16
	// PackMax bounds a pack, tail included: a builder takes a frame while it is below
	// PackBytes, or when it is empty, so it never passes PackBytes plus one frame of 16 MiB.
	PackMax = PackBytes + seal.FramedMax + PackEntriesMax*entryBytes + 1<<20
)

// ErrClosed means that a builder is closed, or was dropped by an earlier error.
var ErrClosed = errors.New("pack builder is closed")

// BuilderOptions are of one pack.
type BuilderOptions struct {
	Method seal.Method // for Add; the empty one is zstd
	Buf    []byte      // memory to fill, of a builder before whose bytes are no longer used; may be nil
	Rand   io.Reader   // nil: the system's. Tests give a seeded one; the key slot is drawn by the system all the same
}

// Builder is one open pack. Compression, which is the cost, can be done beside it
// (seal.Compressor, one a worker) and its result given to Append; Add does both.
// Key, counter and builder live and die together: after any error the builder is
// dead and its bytes are worth nothing. Not for concurrent use.
type Builder struct {
	ring    *Ring
	id      [16]byte
	salt    [32]byte
	slot    []byte
	sealer  *seal.Sealer
	press   *seal.Compressor
	scratch []byte
	opts    BuilderOptions
	buf     []byte
	entries []Entry
	dead    bool
}

// NewBuilder opens a pack: it draws id, salt and content key and seals the key to
// the ring's vault key. It needs the map key and the public half.
func NewBuilder(ring *Ring, o BuilderOptions) (*Builder, error) {
	if err := ring.Need(MapKey, PublicKey); err != nil {
		return nil, fmt.Errorf("open a pack: %w", err)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	b := &Builder{ring: ring, opts: o, buf: o.Buf[:0]}
	var content [32]byte
	for _, p := range [][]byte{b.id[:], b.salt[:], content[:]} {
		if _, err := io.ReadFull(o.Rand, p); err != nil {
			return nil, fmt.Errorf("open a pack: draw its keys: %w", err)
		}
	}
	var err error
	if b.slot, err = ring.sealSlot(content); err != nil {
		return nil, fmt.Errorf("open a pack: %w", err)
	}
	if cap(b.buf) == 0 {
		b.buf = make([]byte, 0, PackBytes+1<<20)
	}
	b.sealer = seal.NewSealer(content)
	return b, nil
}

// Len is how many bytes of frames the pack has.
func (b *Builder) Len() int { return len(b.buf) }

// Entries is what the pack holds so far. It is the builder's memory: read only.
func (b *Builder) Entries() []Entry { return b.entries }

// Fits reports whether a body of n bytes may still be appended. An empty builder
// takes any.
func (b *Builder) Fits(n int) bool {
	return len(b.entries) == 0 || len(b.entries) < PackEntriesMax && len(b.buf)+n+seal.Overhead <= PackBytes
}

// Add compresses plain and appends it under its name.
func (b *Builder) Add(id cut.ID, plain []byte) (Entry, error) {
	if b.press == nil {
		p, err := seal.NewCompressor(b.opts.Method)
		if err != nil {
			b.dead = true
			return Entry{}, fmt.Errorf("add chunk %s: %w", id, err)
		}
		b.press = p
	}
	body, codec := b.press.Compress(b.scratch, plain)
	if codec != seal.Raw {
		b.scratch = body
	}
	return b.Append(id, body, codec, len(plain))
}

// Append seals the body that a seal.Compressor gave for a chunk of plain bytes,
// at the end of the pack. The caller has checked that id is the name of those bytes
// and that they fit.
func (b *Builder) Append(id cut.ID, body []byte, codec seal.Codec, plain int) (Entry, error) {
	if b.dead {
		return Entry{}, fmt.Errorf("add chunk %s: %w", id, ErrClosed)
	}
	if !b.Fits(len(body)) {
		b.dead = true
		return Entry{}, fmt.Errorf("add chunk %s: %d bytes do not fit a pack of %d bytes and %d entries", id, len(body), len(b.buf), len(b.entries))
	}
	e := Entry{ID: id, Offset: uint32(len(b.buf)), Plain: uint32(plain)}
	var err error
	if b.buf, err = b.sealer.Append(b.buf, id, body, codec, plain); err != nil {
		b.dead = true
		return Entry{}, fmt.Errorf("add chunk %s: %w", id, err)
	}
	e.Framed = uint32(len(b.buf)) - e.Offset
	b.entries = append(b.entries, e)
	return e, nil
}

// Close seals the table and returns the pack's id and bytes. birth is the highest
// epoch of the runs that the chunks came from. The bytes are the builder's memory:
// whoever gives it to the next builder must be done with them. A pack without
// chunks is refused.
func (b *Builder) Close(birth uint64) (PackID, []byte, []Entry, error) {
	if b.dead {
		return PackID{}, nil, nil, fmt.Errorf("close a pack: %w", ErrClosed)
	}
	b.dead = true
	if len(b.entries) == 0 {
		return PackID{}, nil, nil, errors.New("close a pack: it holds no chunk")
	}
	id := PackID{birth, b.id}
	var err error
	b.buf, err = appendTail(b.buf, b.ring.Map, tail{pack: id, salt: b.salt, slots: b.slot, entries: b.entries})
	if err != nil {
		return PackID{}, nil, nil, fmt.Errorf("close pack %s: %w", id, err)
	}
	return id, b.buf, b.entries, nil
}
