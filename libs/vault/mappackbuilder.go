package vault

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/seal"
)

const (
	// MapPackBytes bounds a map pack: 4 MiB is about 1,400 full pages, 5.5 GiB of a disk on a 64 KiB grid.
	MapPackBytes = 4 << 20
	// MapSlotsMax bounds its pages: the smallest, of one chunk, takes 194 bytes with its head's copy.
	MapSlotsMax = 1 << 15
)

// MapBuilder is one open map pack. It lives and dies with its key: after any error
// it is dead. It keeps no page, only sealed ones. Not for concurrent use.
type MapBuilder struct {
	id    [16]byte
	salt  [32]byte
	key   cipher.AEAD
	buf   []byte // sealed pages
	heads []byte // plain
	slots []byte // plain
	page  []byte // scratch
	dead  bool
}

// MapBuilderOptions are of one map pack.
type MapBuilderOptions struct {
	Buf  []byte    // memory to fill, whose bytes are no longer used; may be nil
	Rand io.Reader // nil: the system's
}

// NewMapBuilder opens a map pack under the map key.
func NewMapBuilder(mapKey [32]byte, o MapBuilderOptions) (*MapBuilder, error) {
	if mapKey == [32]byte{} {
		return nil, fmt.Errorf("open a map pack: %w: %s", ErrNoKey, MapKey)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	b := &MapBuilder{buf: o.Buf[:0]}
	for _, p := range [][]byte{b.id[:], b.salt[:]} {
		if _, err := io.ReadFull(o.Rand, p); err != nil {
			return nil, fmt.Errorf("open a map pack: draw its salt: %w", err)
		}
	}
	b.key = derive(mapKey, b.salt, mapInfo)
	return b, nil
}

// Len is how long the map pack would be if it were closed now.
func (b *MapBuilder) Len() int {
	return len(b.buf) + len(b.heads) + len(b.slots) + 2*seal.TagBytes + mapFooter
}

// Slots is how many pages it has.
func (b *MapBuilder) Slots() int { return len(b.slots) / slotEntry }

// Fits reports whether any page at all may still be added: the map pack is to be
// closed when it may not.
func (b *MapBuilder) Fits() bool {
	return b.Slots() < MapSlotsMax && b.Len()+2*pageMax+seal.TagBytes+slotEntry <= MapPackBytes
}

// Add seals a page and returns its slot.
func (b *MapBuilder) Add(p Page) (slot uint32, err error) {
	if b.dead {
		return 0, fmt.Errorf("add page %d: %w", p.No, ErrClosed)
	}
	h, no, err := p.head()
	if err != nil {
		return 0, fmt.Errorf("add a page: %w", err) // nothing is sealed yet: the builder lives
	}
	if !b.Fits() {
		return 0, fmt.Errorf("add page %d: the map pack is full", p.No)
	}
	slot = uint32(b.Slots())
	b.page = h.appendPage(b.page[:0], &p, no)
	at := len(b.buf)
	nonce := seal.Nonce(slot)
	b.buf = slices.Grow(b.buf, len(b.page)+seal.TagBytes) // Seal itself grows by no more than it needs: quadratic
	b.buf = b.key.Seal(b.buf, nonce[:], b.page, nil)
	b.heads = h.append(b.heads)
	b.slots = binary.BigEndian.AppendUint32(b.slots, uint32(at))
	b.slots = binary.BigEndian.AppendUint32(b.slots, uint32(len(b.buf)-at))
	return slot, nil
}

// Close seals heads and directory and returns the map pack's id and bytes, which
// are the builder's memory. birth is the highest epoch of the runs whose pages it
// holds. A map pack without pages is refused.
func (b *MapBuilder) Close(birth uint64) (PackID, []byte, error) {
	if b.dead {
		return PackID{}, nil, fmt.Errorf("close a map pack: %w", ErrClosed)
	}
	b.dead = true
	if b.Slots() == 0 {
		return PackID{}, nil, errors.New("close a map pack: it holds no page")
	}
	id := PackID{birth, b.id}
	footer := append([]byte(nil), b.salt[:]...)
	footer = binary.BigEndian.AppendUint64(footer, birth)
	footer = append(footer, b.id[:]...)
	footer = binary.BigEndian.AppendUint32(footer, uint32(b.Slots()))
	footer = binary.BigEndian.AppendUint32(footer, uint32(len(b.heads)+seal.TagBytes))
	footer = binary.BigEndian.AppendUint32(footer, uint32(len(b.slots)+seal.TagBytes))
	footer = append(footer, 0, 0, 0, 0)
	footer = append(footer, mapMagic...)
	for _, part := range []struct {
		counter uint32
		plain   []byte
	}{{headsCounter, b.heads}, {directoryCounter, b.slots}} {
		nonce := seal.Nonce(part.counter)
		b.buf = b.key.Seal(b.buf, nonce[:], part.plain, footer)
	}
	return id, append(b.buf, footer...), nil
}
