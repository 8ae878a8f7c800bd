// Package cut divides bytes into chunks and names them. A disk is cut on a grid,
// so that a place is its offset; a stream is cut by content (FastCDC), so that an
// insertion moves no later cut. A chunk's name is the keyed BLAKE3 of its digest:
// equal bytes have one name within a vault, and nobody without the name key can
// ask whether a vault holds a known file.
package cut

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"sync"

	"github.com/zeebo/blake3"
)

const (
	// PagePlaces is how many places a page has: a bitmap of places is one u64.
	PagePlaces = 64
	// GridDefault is the grid of a vault that names none. Measured on real
	// machines it is the knee: 16 KiB saves 4 % of stored bytes for 4 times the
	// references, 256 KiB costs 150 % more for a day's changes.
	GridDefault = 64 << 10
	// GridMin and GridMax bound the grid. A page of the largest is 64 MiB; an
	// entry of 46 bytes describes a place of the smallest: 1 % overhead.
	GridMin = 4 << 10
	GridMax = 1 << 20
	// ExtentBytes is the most that one extent holds, so the most that one chunk can be.
	ExtentBytes = 16 << 20
)

// ID names a chunk.
type ID [32]byte

// String is the id in hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID is the inverse of String.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("chunk id %.80q: %d characters, want %d", s, len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, fmt.Errorf("chunk id %.80q: %w", s, err)
	}
	return id, nil
}

// CheckGrid says what is wrong with a grid, which is a power of two between GridMin and GridMax.
func CheckGrid(grid uint32) error {
	if grid < GridMin || grid > GridMax || bits.OnesCount32(grid) != 1 {
		return fmt.Errorf("grid of %d bytes: want a power of two from %d to %d", grid, GridMin, GridMax)
	}
	return nil
}

// Namer names chunks under one name key. It reuses its hashers and is therefore
// not for concurrent use: each worker has its own.
type Namer struct {
	Digester
	names *blake3.Hasher
}

// NewNamer returns a Namer for a name key.
func NewNamer(key [32]byte) *Namer {
	return &Namer{NewDigester(DigestKey(key)), keyed(key)}
}

// Name is the name of the chunk that has this digest. Whoever is told digests can
// name chunks without their bytes.
func (n *Namer) Name(d Digest) (id ID) {
	n.names.Reset()
	n.names.Write(d[:])
	n.names.Sum(id[:0])
	return id
}

// ID names plain. It does not keep plain.
func (n *Namer) ID(plain []byte) ID { return n.Name(n.Digest(plain)) }

var zeros [64 << 10]byte

// Zero reports whether b holds only zero bytes; so does an empty b.
func Zero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var hashers = sync.Pool{New: func() any { return blake3.New() }}

// PageDigest is the digest of a page's data places: the first 16 bytes of the
// BLAKE3 of (place u64 big-endian, id) of each, in the order given, which is
// ascending. ids holds 32 bytes for each place. The chunker tells it, the auditor
// computes it again from what the deduper and the uploader answered.
func PageDigest(places []uint64, ids []byte) (d [16]byte) {
	if len(ids) != 32*len(places) {
		panic(fmt.Sprintf("cut: digest of %d places with %d bytes of ids", len(places), len(ids)))
	}
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	var rec [8 + 32]byte
	for i, p := range places {
		binary.BigEndian.PutUint64(rec[:8], p)
		copy(rec[8:], ids[32*i:])
		h.Write(rec[:])
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return [16]byte(sum[:16])
}
