package cut

import "github.com/zeebo/blake3"

// Digest is the BLAKE3 of a place's or a chunk's bytes: what its name is made
// from, what its extent is proven by, and what tells whether it changed.
type Digest [32]byte

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

// Blocks appends to sums the digest of each block of the blob: grid bytes each,
// the last one what is left. A grid of 0 is that of a stream: GridDefault. The
// data places of an extent lie in its blob as such blocks, because only the last
// place of a file may be short.
func (d Digester) Blocks(sums []Digest, blob []byte, grid uint32) []Digest {
	if grid == 0 {
		grid = GridDefault
	}
	for len(blob) > 0 {
		n := min(int(grid), len(blob))
		sums = append(sums, d.Digest(blob[:n]))
		blob = blob[n:]
	}
	return sums
}

// Proof is what an extent's blob is held against: the BLAKE3 of its blocks'
// digests, in order. It proves each byte as well as a hash of the blob would, and
// the digests under it need not be taken twice.
func (d Digester) Proof(blocks []Digest) Digest {
	d.h.Reset()
	for i := range blocks {
		d.h.Write(blocks[i][:])
	}
	var sum Digest
	d.h.Sum(sum[:0])
	return sum
}
