package chunker

import (
	"math/bits"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// division is an extent being cut: what the auditor must come to see of it, and its
// chunks by partition; a partition without any is nil. The same extent gives the
// same records.
type division struct {
	e     *schemas.ExtentExported
	namer *cut.Namer
	cut   *schemas.ExtentCut
	out   []*schemas.ChunksCut
	at    uint32 // in the blob

	places []uint64 // of the page being cut
	ids    []byte
}

func divide(e *schemas.ExtentExported, namer *cut.Namer, parts int32) *division {
	d := &division{e: e, namer: namer, out: make([]*schemas.ChunksCut, parts)}
	d.cut = &schemas.ExtentCut{Run: e.Run, SnapshotId: e.SnapshotId, File: e.File, HasBase: e.HasBase, BaseFile: e.BaseFile,
		FileBytes: e.FileBytes, GridBytes: e.GridBytes, Extent: e.Extent}
	return d
}

// cutGrid cuts pages of a disk by the digests of their places. A data place that
// holds only zeros becomes a zero place.
func cutGrid(e *schemas.ExtentExported, namer *cut.Namer, parts int32) (*schemas.ExtentCut, []*schemas.ChunksCut) {
	d := divide(e, namer, parts)
	digests := e.Digests
	zeros := zeroPlace{Digester: namer.Digester}
	for _, p := range e.Pages {
		page := &schemas.CutPage{No: p.No, Data: p.Data, Zero: p.Zero, Claimed: p.Claimed}
		for data := p.Data; data != 0; data &= data - 1 {
			bit := bits.TrailingZeros64(data)
			at := place(p.No, bit)
			n := uint32(lengthAt(e, at))
			digest := cut.Digest(digests)
			digests = digests[cut.DigestBytes:]
			if zeros.is(digest, n) {
				page.Data &^= 1 << bit
				page.Zero |= 1 << bit
				d.at += n
			} else {
				d.chunk(at, n, digest)
			}
		}
		d.end(page)
	}
	return d.cut, d.out
}

// zeroPlace tells zeros by their digest: all places but a file's last are equally long.
type zeroPlace struct {
	cut.Digester
	n   uint32
	sum cut.Digest
}

func (z *zeroPlace) is(digest cut.Digest, n uint32) bool {
	if z.n != n {
		z.n, z.sum = n, z.Zeros(int(n))
	}
	return digest == z.sum
}

// cutStream cuts the one page of a stream's extent. Its zeros are chunks like any
// other, because a zero place has no length of its own. The last of 64 chunks
// takes the rest.
func cutStream(e *schemas.ExtentExported, blob []byte, namer *cut.Namer, parts int32) (*schemas.ExtentCut, []*schemas.ChunksCut) {
	d := divide(e, namer, parts)
	page := &schemas.CutPage{No: e.Pages[0].No}
	n := 0
	for plain := range cut.Split(blob) {
		if n == cut.PagePlaces-1 {
			plain = blob[d.at:]
		}
		page.Data |= 1 << n
		d.chunk(place(page.No, n), uint32(len(plain)), namer.Digest(plain))
		if n++; n == cut.PagePlaces {
			break
		}
	}
	d.end(page)
	return d.cut, d.out
}

func (d *division) chunk(at uint64, n uint32, digest cut.Digest) {
	id := d.namer.Name(digest)
	d.places = append(d.places, at)
	d.ids = append(d.ids, id[:]...)
	part := topics.ChunkPart(id[:], int32(len(d.out)))
	c := d.out[part]
	if c == nil {
		c = &schemas.ChunksCut{Run: d.e.Run, File: d.e.File, Extent: d.e.Extent, Blob: d.e.Blob, Refs: &schemas.Refs{}}
		d.out[part] = c
	}
	c.Refs.Ids = append(c.Refs.Ids, id[:]...)
	c.Refs.Places = append(c.Refs.Places, at)
	c.Refs.Offsets = append(c.Refs.Offsets, d.at)
	c.Refs.Lengths = append(c.Refs.Lengths, n)
	d.at += n
	d.cut.DataBytes += n
}

func (d *division) end(page *schemas.CutPage) {
	digest := cut.PageDigest(d.places, d.ids)
	page.Digest = digest[:]
	d.cut.Pages = append(d.cut.Pages, page)
	d.places, d.ids = d.places[:0], d.ids[:0]
}
