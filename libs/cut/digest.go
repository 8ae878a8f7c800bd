package cut

import "github.com/zeebo/blake3"

// DigestBytes is the length of a digest.
const DigestBytes = 32

// Digest is the BLAKE3 of a place's or a chunk's bytes: what its name is made
// from, what proves it, and what tells whether it changed.
type Digest [DigestBytes]byte

// Digester takes digests. It reuses one hasher and is therefore not for
// concurrent use.
type Digester struct{ h *blake3.Hasher }

// NewDigester returns a Digester.
func NewDigester() Digester { return Digester{blake3.New()} }

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
