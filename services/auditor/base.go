package auditor

import (
	"iter"
	"math/bits"
	"sort"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// base is the point that an attempt takes unchanged pages from.
type base struct {
	path  string
	point *vault.Point
	files map[uint32]*baseFile
}

// baseFile finds pages of a file of it: 4 bytes a run beside the point's own 12.
type baseFile struct {
	base   *base
	f      *schemas.PointFile
	shape  shape
	starts []uint32
}

func newBase(path string, p *vault.Point) *base {
	b := &base{path: path, point: p, files: map[uint32]*baseFile{}}
	for _, f := range p.Files {
		bf := &baseFile{base: b, f: f, shape: shape{f.SizeBytes, f.GridBytes}, starts: make([]uint32, len(f.RunPages))}
		next := uint32(0)
		for i, n := range f.RunPages {
			bf.starts[i] = next
			next += n
		}
		b.files[f.No] = bf
	}
	return b
}

// runs yields where pages [first, first+count) of the file lie, as far as it has them.
func (b *baseFile) runs(first, count uint32) iter.Seq[vault.PageRun] {
	return func(yield func(vault.PageRun) bool) {
		i := sort.Search(len(b.starts), func(i int) bool { return b.starts[i] > first }) - 1
		for i = max(i, 0); i < len(b.starts) && b.starts[i] < first+count; i++ {
			s := span{b.starts[i], b.f.RunPages[i], b.f.RunMap[i], b.f.RunSlot[i]}
			if s.end() <= first {
				continue
			}
			s = s.clip(first, first+count)
			r := vault.PageRun{First: s.first, Count: s.count, Slot: s.slot}
			if s.pack != 0 {
				pack := b.base.point.MapPacks[s.pack-1]
				r.Map = vault.PackID{Birth: pack.Birth, ID: [16]byte(pack.Id)}
			}
			if !yield(r) {
				return
			}
		}
	}
}

// lender is the file of the base that pages may be taken from: on the same grid.
func (b *base) lender(no uint32, s shape) (*baseFile, *fault) {
	bf := b.files[no]
	if bf == nil {
		return nil, faultf(codeBase, "point %s has no file %d", b.path, no)
	}
	if s.grid == 0 || bf.shape.grid != s.grid {
		return nil, faultf(codeBase, "file %d of point %s is cut on a grid of %d, wanted is %d", no, b.path, bf.shape.grid, s.grid)
	}
	return bf, nil
}

// lends says what is wrong with taking places of a page: the base must have places
// of the same length there.
func (b *baseFile) lends(s shape, page uint32, places uint64) *fault {
	for ; places != 0; places &= places - 1 {
		n := uint64(page)*cut.PagePlaces + uint64(bits.TrailingZeros64(places))
		if have, want := b.shape.length(n), s.length(n); have != want {
			return faultf(codeBase, "file %d of point %s: place %d has %d bytes, wanted are %d", b.f.No, b.base.path, n, have, want)
		}
	}
	return nil
}
