package cut

import (
	"fmt"

	"github.com/zeebo/blake3"
)

// DigestBytes is the length of a digest.
const DigestBytes = 32

// Digest is the keyed BLAKE3 of a place's or a chunk's bytes: what its name is made
// from, what proves it, and what tells whether it changed. Digests travel between
// stages and lie beside staging, so they are keyed, too: nobody there can ask
// whether a machine holds a known file.
type Digest [DigestBytes]byte

// digestContext is for BLAKE3's way of deriving keys. It is part of the format of names.
const digestContext = "holdfast v1 digest key of chunks"

// DigestKey is the digest key that belongs to a name key. Who has it can take
// digests, and name nothing.
func DigestKey(nameKey [32]byte) (key [32]byte) {
	blake3.DeriveKey(digestContext, nameKey[:], key[:])
	return key
}

// Digester takes digests. It reuses one hasher and is therefore not for
// concurrent use.
type Digester struct{ h *blake3.Hasher }

// NewDigester returns a Digester for a digest key.
func NewDigester(key [32]byte) Digester { return Digester{keyed(key)} }

func keyed(key [32]byte) *blake3.Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(fmt.Sprintf("cut: a key of 32 bytes: %v", err))
	}
	return h
}

// Digest of plain, which it does not keep.
func (d Digester) Digest(plain []byte) (sum Digest) {
	d.h.Reset()
	d.h.Write(plain)
	d.h.Sum(sum[:0])
	return sum
}

// Zeros is the digest of n zero bytes.
func (d Digester) Zeros(n int) (sum Digest) {
	d.h.Reset()
	for ; n > 0; n -= min(n, len(zeros)) {
		d.h.Write(zeros[:min(n, len(zeros))])
	}
	d.h.Sum(sum[:0])
	return sum
}

// Blocks appends to sums the digest of each block of the blob: grid bytes each,
// the last one what is left. A grid of 0 is that of a stream: GridDefault. The
// data places of an extent lie in its blob as such blocks, because only the last
// place of a file may be short.
func (d Digester) Blocks(sums, blob []byte, grid uint32) []byte {
	if grid == 0 {
		grid = GridDefault
	}
	for len(blob) > 0 {
		n := min(int(grid), len(blob))
		sum := d.Digest(blob[:n])
		sums = append(sums, sum[:]...)
		blob = blob[n:]
	}
	return sums
}
