package vault

import (
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// PageRun is neighbouring pages of a file that lie in neighbouring slots of one map
// pack, or, where Map is zero, are all zero and lie nowhere.
type PageRun struct {
	First, Count uint32
	Map          PackID
	Slot         uint32 // of First
}

// PointBuilder files the runs of a point: it lists each map pack once and joins
// runs that follow one another.
type PointBuilder struct {
	p    *Point
	maps map[PackID]uint32
}

// NewPointBuilder adds files to p, which has none yet.
func NewPointBuilder(p *Point) *PointBuilder {
	return &PointBuilder{p: p, maps: map[PackID]uint32{}}
}

// File adds a file and its runs, which begin at page 0 and have no gap.
func (b *PointBuilder) File(f *schemas.PointFile, runs iter.Seq[PageRun]) error {
	next := uint32(0)
	for r := range runs {
		if r.First != next || r.Count == 0 || r.Count > math.MaxUint32-next {
			return fmt.Errorf("point: file %d %q: run of %d pages at page %d, due at %d", f.No, f.Name, r.Count, r.First, next)
		}
		next += r.Count
		b.run(f, r)
	}
	b.p.Files = append(b.p.Files, f)
	return nil
}

func (b *PointBuilder) run(f *schemas.PointFile, r PageRun) {
	no := uint32(0)
	if !r.Map.IsZero() {
		var ok bool
		if no, ok = b.maps[r.Map]; !ok {
			b.p.MapPacks = append(b.p.MapPacks, r.Map.Proto())
			no = uint32(len(b.p.MapPacks))
			b.maps[r.Map] = no
		}
	} else {
		r.Slot = 0
	}
	if last := len(f.RunPages) - 1; last >= 0 && f.RunMap[last] == no && (no == 0 || f.RunSlot[last]+f.RunPages[last] == r.Slot) {
		f.RunPages[last] += r.Count
		return
	}
	f.RunPages, f.RunMap, f.RunSlot = append(f.RunPages, r.Count), append(f.RunMap, no), append(f.RunSlot, r.Slot)
}

// Runs are the runs of a file of a point that was checked, as every decoded one is.
func Runs(p *Point, f *schemas.PointFile) iter.Seq[PageRun] {
	return func(yield func(PageRun) bool) {
		next := uint32(0)
		for i, n := range f.RunPages {
			r := PageRun{First: next, Count: n, Slot: f.RunSlot[i]}
			if m := f.RunMap[i]; m > 0 {
				pack := p.MapPacks[m-1]
				r.Map = PackID{pack.Birth, [16]byte(pack.Id)}
			}
			if !yield(r) {
				return
			}
			next += n
		}
	}
}

// Pages is how many pages a file on a grid has; 0 for a stream, whose runs tell.
func Pages(size uint64, grid uint32) uint64 {
	if grid == 0 {
		return 0
	}
	page := uint64(grid) * cut.PagePlaces
	return size/page + min(size%page, 1)
}

// CheckPoint says what is wrong with a point: what a reader relies on is checked
// here, by the writer before it seals and by the reader after it opens.
func CheckPoint(p *Point) error {
	switch {
	case len(p.GetRun().GetBackup()) != 16 || len(p.GetRun().GetLease()) != 16:
		return fmt.Errorf("point: backup of %d bytes, lease of %d, want 16 each", len(p.GetRun().GetBackup()), len(p.GetRun().GetLease()))
	case p.GetMachine().GetSource() == "" || p.GetMachine().GetId() == "":
		return errors.New("point: it names no machine")
	}
	seen := map[PackID]bool{}
	for _, m := range p.MapPacks {
		id, err := PackIDFromProto(m)
		if err != nil {
			return fmt.Errorf("point: map packs: %w", err)
		}
		if id.IsZero() || seen[id] {
			return fmt.Errorf("point: map pack %s is listed twice, or names none", id)
		}
		seen[id] = true
	}
	for i, f := range p.Files {
		if i > 0 && f.No <= p.Files[i-1].No {
			return fmt.Errorf("point: file %d comes after file %d", f.No, p.Files[i-1].No)
		}
		if err := checkFile(f, len(p.MapPacks)); err != nil {
			return fmt.Errorf("point: file %d %q: %w", f.No, f.Name, err)
		}
	}
	return nil
}

func checkFile(f *schemas.PointFile, maps int) error {
	if f.GridBytes != 0 {
		if err := cut.CheckGrid(f.GridBytes); err != nil {
			return err
		}
	}
	if len(f.RunMap) != len(f.RunPages) || len(f.RunSlot) != len(f.RunPages) {
		return fmt.Errorf("columns of %d, %d and %d runs", len(f.RunPages), len(f.RunMap), len(f.RunSlot))
	}
	sum := uint64(0)
	for i, n := range f.RunPages {
		sum += uint64(n)
		switch m, last := f.RunMap[i], uint64(f.RunSlot[i])+uint64(n); {
		case n == 0:
			return fmt.Errorf("run %d has no pages", i)
		case uint64(m) > uint64(maps):
			return fmt.Errorf("run %d: map pack %d of %d", i, m, maps)
		case m != 0 && last > MapSlotsMax, m == 0 && f.RunSlot[i] != 0:
			return fmt.Errorf("run %d: slots %d to %d of map pack %d", i, f.RunSlot[i], last, m)
		case m == 0 && f.GridBytes == 0:
			return fmt.Errorf("run %d: zero pages in a stream", i)
		}
	}
	switch {
	case sum > math.MaxUint32:
		return fmt.Errorf("%d pages", sum)
	case f.GridBytes != 0 && sum != Pages(f.SizeBytes, f.GridBytes):
		return fmt.Errorf("%d pages, but %d bytes on a grid of %d are %d", sum, f.SizeBytes, f.GridBytes, Pages(f.SizeBytes, f.GridBytes))
	case f.GridBytes == 0 && (sum == 0) != (f.SizeBytes == 0):
		return fmt.Errorf("a stream of %d bytes in %d pages", f.SizeBytes, sum)
	}
	return nil
}
