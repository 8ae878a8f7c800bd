package chunker

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// check says what is false about an extent. What it passes, divide can cut.
func check(e *schemas.ExtentExported) error {
	run := e.GetRun()
	switch {
	case len(run.GetBackup()) != 16 || len(run.GetLease()) != 16:
		return fmt.Errorf("run: backup of %d and lease of %d bytes, want 16", len(run.GetBackup()), len(run.GetLease()))
	case e.LengthBytes > cut.ExtentBytes:
		return fmt.Errorf("blob of %d bytes, want %d at most", e.LengthBytes, cut.ExtentBytes)
	case e.LengthBytes > 0 && len(e.Proof) != 32:
		return fmt.Errorf("proof of %d bytes, want 32", len(e.Proof))
	case e.LengthBytes > 0 && !strings.Contains(e.Blob, "/"):
		return fmt.Errorf("blob %q: want lease/name", e.Blob)
	case e.GridBytes == 0 && len(e.Pages) != 1:
		return fmt.Errorf("extent of a stream: %d pages, want one", len(e.Pages))
	case e.GridBytes == 0:
		return nil
	}
	if err := cut.CheckGrid(e.GridBytes); err != nil {
		return err
	}
	var sum uint64
	for i, p := range e.Pages {
		if i > 0 && p.No <= e.Pages[i-1].No {
			return fmt.Errorf("page %d after page %d", p.No, e.Pages[i-1].No)
		}
		if p.Data&p.Zero != 0 {
			return fmt.Errorf("page %d: places %b are both data and zero", p.No, p.Data&p.Zero)
		}
		for data := p.Data; data != 0; data &= data - 1 {
			n := lengthAt(e, place(p.No, bits.TrailingZeros64(data)))
			if n == 0 {
				return fmt.Errorf("page %d: data beyond the file's end at %d", p.No, e.FileBytes)
			}
			sum += n
		}
	}
	if sum != uint64(e.LengthBytes) {
		return fmt.Errorf("blob of %d bytes, its places take %d", e.LengthBytes, sum)
	}
	return nil
}

func place(page uint32, bit int) uint64 { return uint64(page)*cut.PagePlaces + uint64(bit) }

// lengthAt is how many bytes of the file lie in a place of the grid.
func lengthAt(e *schemas.ExtentExported, place uint64) uint64 {
	from := place * uint64(e.GridBytes)
	if from >= e.FileBytes {
		return 0
	}
	return min(uint64(e.GridBytes), e.FileBytes-from)
}

// divide cuts an extent whose bytes are blob, with blocks their digests, into
// chunks: what the auditor must come to see of it, and its chunks by partition of
// parts; a partition without any is nil. The same extent gives the same records.
func divide(e *schemas.ExtentExported, blob []byte, blocks []cut.Digest, namer *cut.Namer, parts int32) (*schemas.ExtentCut, []*schemas.ChunksCut) {
	d := &division{e: e, namer: namer, out: make([]*schemas.ChunksCut, parts)}
	d.cut = &schemas.ExtentCut{Run: e.Run, SnapshotId: e.SnapshotId, File: e.File, HasBase: e.HasBase, BaseFile: e.BaseFile,
		FileBytes: e.FileBytes, GridBytes: e.GridBytes, Extent: e.Extent}
	if e.GridBytes == 0 {
		d.stream(blob)
	} else {
		d.grid(blob, blocks)
	}
	return d.cut, d.out
}

type division struct {
	e     *schemas.ExtentExported
	namer *cut.Namer
	cut   *schemas.ExtentCut
	out   []*schemas.ChunksCut
	at    uint32 // in the blob

	places []uint64 // of the page being cut
	ids    []byte
}

// grid cuts pages of a disk. A data place that holds only zeros becomes a zero place.
func (d *division) grid(blob []byte, blocks []cut.Digest) {
	n := 0
	for _, p := range d.e.Pages {
		page := &schemas.CutPage{No: p.No, Data: p.Data, Zero: p.Zero}
		for data := p.Data; data != 0; data &= data - 1 {
			bit := bits.TrailingZeros64(data)
			at := place(p.No, bit)
			plain := blob[d.at : d.at+uint32(lengthAt(d.e, at))]
			if cut.Zero(plain) {
				page.Data &^= 1 << bit
				page.Zero |= 1 << bit
				d.at += uint32(len(plain))
			} else {
				d.chunk(at, plain, blocks[n])
			}
			n++
		}
		d.end(page)
	}
}

// stream cuts the one page of a stream's extent. Its zeros are chunks like any
// other, because a zero place has no length of its own. The last of 64 chunks
// takes the rest.
func (d *division) stream(blob []byte) {
	page := &schemas.CutPage{No: d.e.Pages[0].No}
	n := 0
	for plain := range cut.Split(blob) {
		if n == cut.PagePlaces-1 {
			plain = blob[d.at:]
		}
		page.Data |= 1 << n
		d.chunk(place(page.No, n), plain, d.namer.Digest(plain))
		if n++; n == cut.PagePlaces {
			break
		}
	}
	d.end(page)
}

func (d *division) chunk(at uint64, plain []byte, digest cut.Digest) {
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
	c.Refs.Lengths = append(c.Refs.Lengths, uint32(len(plain)))
	d.at += uint32(len(plain))
	d.cut.DataBytes += uint32(len(plain))
}

func (d *division) end(page *schemas.CutPage) {
	digest := cut.PageDigest(d.places, d.ids)
	page.Digest = digest[:]
	d.cut.Pages = append(d.cut.Pages, page)
	d.places, d.ids = d.places[:0], d.ids[:0]
}
