package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// HeadBytes is the length of a frame's head: slot u8, codec u8, counter u32, plain length u32.
	HeadBytes = 1 + 1 + 4 + 4
	// TagBytes is the length of the tag of AES-256-GCM.
	TagBytes = 16
	// Overhead is what a frame is longer than its body.
	Overhead = HeadBytes + TagBytes
	// FramedMax is the longest frame: a raw one of PlainMax, since a body that does not shrink stays raw.
	FramedMax = PlainMax + Overhead

	nonceBytes = 12
)

// Head is what stands before the sealed bytes. Slot tells under which of the
// pack's key slots the content key lies; it alone is not authenticated, since
// moving a frame to another pack renumbers it. A wrong slot gives a wrong key.
type Head struct {
	Slot    uint8
	Codec   Codec
	Counter uint32 // of the nonce; unique under one content key
	Plain   uint32
}

// ParseHead reads the head of a frame. It checks lengths only: what it says is
// true once the frame was opened.
func ParseHead(frame []byte) (Head, error) {
	if len(frame) < Overhead {
		return Head{}, fmt.Errorf("%w: frame of %d bytes, want at least %d", ErrCorrupt, len(frame), Overhead)
	}
	h := Head{frame[0], Codec(frame[1]), binary.BigEndian.Uint32(frame[2:]), binary.BigEndian.Uint32(frame[6:])}
	if h.Plain == 0 || h.Plain > PlainMax {
		return Head{}, fmt.Errorf("%w: frame of %d plain bytes, want 1 to %d", ErrCorrupt, h.Plain, PlainMax)
	}
	if len(frame) > int(h.Plain)+Overhead {
		return Head{}, fmt.Errorf("%w: frame of %d bytes for %d plain ones", ErrCorrupt, len(frame), h.Plain)
	}
	return h, nil
}

func (h Head) put(dst []byte) []byte {
	dst = append(dst, h.Slot, byte(h.Codec))
	dst = binary.BigEndian.AppendUint32(dst, h.Counter)
	return binary.BigEndian.AppendUint32(dst, h.Plain)
}

// Nonce is the nonce of a counter: 8 zero bytes and the counter. It is safe only
// because every key of this house is drawn or derived for one object, and lives
// and dies with the one counter that runs under it.
func Nonce(counter uint32) (n [nonceBytes]byte) {
	binary.BigEndian.PutUint32(n[8:], counter)
	return n
}

// AEAD returns AES-256-GCM under a key.
func AEAD(key [32]byte) cipher.AEAD {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("seal: a key of 32 bytes: %v", err))
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic(fmt.Sprintf("seal: AES has blocks of 16 bytes: %v", err))
	}
	return a
}

const aadBytes = 32 + 1 + 4

// aad binds a frame to the chunk's name and to how it must be unpacked. Neither
// slot nor position is in it, so that frames can move between packs.
func aad(id *[32]byte, h Head) (a [aadBytes]byte) {
	copy(a[:], id[:])
	a[32] = byte(h.Codec)
	binary.BigEndian.PutUint32(a[33:], h.Plain)
	return a
}

// Sealer seals the frames of one pack under its content key. It counts the nonces
// itself, so that no two frames have one. It is not for concurrent use, and it is
// dropped with its pack: never continued, never copied.
type Sealer struct {
	aead  cipher.AEAD
	next  uint32
	over  bool
	nonce [nonceBytes]byte // here so that a frame costs no allocation
	aad   [aadBytes]byte
}

// NewSealer begins at counter 0 under a key that has sealed nothing yet.
func NewSealer(key [32]byte) *Sealer { return &Sealer{aead: AEAD(key)} }

// Append appends the frame of a body to dst: one that Compress gave for the chunk
// id of plain bytes. dst and body must not overlap.
func (s *Sealer) Append(dst []byte, id [32]byte, body []byte, codec Codec, plain int) ([]byte, error) {
	switch {
	case plain <= 0 || plain > PlainMax:
		return dst, fmt.Errorf("seal a chunk of %d bytes: want 1 to %d", plain, PlainMax)
	case len(body) > plain:
		return dst, fmt.Errorf("seal a chunk of %d bytes: packed it has %d", plain, len(body))
	case s.over:
		return dst, fmt.Errorf("seal a chunk: 2^32 frames under one key")
	}
	h := Head{Codec: codec, Counter: s.next, Plain: uint32(plain)}
	s.next++
	s.over = s.next == 0
	s.nonce, s.aad = Nonce(h.Counter), aad(&id, h)
	dst = slices.Grow(dst, Overhead+len(body)) // Seal itself grows by no more than it needs: quadratic over a pack
	return s.aead.Seal(h.put(dst), s.nonce[:], body, s.aad[:]), nil
}

// Opener opens frames. It is not for concurrent use: each worker has its own.
type Opener struct {
	x       *expander
	scratch []byte
}

// NewOpener returns an opener for any pack.
func NewOpener() (*Opener, error) {
	x, err := newExpander()
	if err != nil {
		return nil, err
	}
	return &Opener{x: x}, nil
}

// Open appends the plain bytes of a frame to dst, given the AEAD of the content
// key that the frame's slot names. ErrCorrupt means a wrong key, another chunk or
// damaged bytes: GCM can't say which. The frame is left as it is, since one chunk
// may be wanted twice. The caller still compares the id of what comes out.
func (o *Opener) Open(dst []byte, key cipher.AEAD, id [32]byte, frame []byte) ([]byte, error) {
	h, err := ParseHead(frame)
	if err != nil {
		return dst, err
	}
	nonce, a := Nonce(h.Counter), aad(&id, h)
	o.scratch, err = key.Open(o.scratch[:0], nonce[:], frame[HeadBytes:], a[:])
	if err != nil {
		return dst, fmt.Errorf("%w: frame of chunk %x: %w", ErrCorrupt, id[:8], err)
	}
	out, err := o.x.expand(dst, o.scratch, h.Codec, int(h.Plain))
	if err != nil {
		return dst, fmt.Errorf("frame of chunk %x: %w", id[:8], err)
	}
	return out, nil
}
