package auditor

import (
	"cmp"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// rowPages bounds a row of filed pages: a run takes at most about 20 bytes, so
// 12,000 pages that are each a run of their own make 240 KB, under the 256 KiB
// that a row may have. A map pack of that many pages of one chunk has 2.3 MB.
const rowPages = 12_000

// filing is a page on its way to the vault.
type filing struct {
	a     *attempt
	p     *page
	out   vault.Page
	blank bool
	slot  uint32
}

// rowOf makes the row of pages of one attempt that lie in one map pack, and names
// the extents that they close. Pages of an extent that were in earlier rows are
// no longer open.
func rowOf(a *attempt, pack vault.PackID, redundancy uint32, pages []filing) *schemas.FiledPages {
	row := &schemas.FiledPages{Run: a.run(), Totals: &schemas.Totals{}, Redundancy: redundancy, SnapshotId: a.snapshot}
	if !pack.IsZero() {
		row.MapPack = pack.Proto()
	}
	slices.SortFunc(pages, func(x, y filing) int {
		return cmp.Or(cmp.Compare(x.p.ext.id.file, y.p.ext.id.file), cmp.Compare(x.p.no, y.p.no))
	})
	filed := map[*extent]int{}
	for _, f := range pages {
		if f.p.ext.pages[f.p.no] != f.p { // a rival has filed it meanwhile
			continue
		}
		appendRun(row, f)
		addTotals(row.Totals, f.p.totals)
		if r := f.p.redundancy; r != 0 {
			row.Redundancy = min(row.Redundancy, r)
		}
		e := f.p.ext
		if filed[e]++; e.cut && filed[e] == len(e.pages) {
			row.Closed = append(row.Closed, &schemas.ClosedExtent{File: e.id.file, Extent: e.id.no})
		}
	}
	return row
}

func appendRun(row *schemas.FiledPages, f filing) {
	id, lied := f.p.ext.id, uint32(f.p.totals.GetLiedPlaces())
	if n := len(row.Runs); n > 0 {
		l := row.Runs[n-1]
		if l.File == id.file && l.Extent == id.no && l.First+l.Count == f.p.no && l.Zero == f.blank && (f.blank || l.Slot+l.Count == f.slot) {
			l.Count++
			l.Lied += lied
			return
		}
	}
	r := &schemas.FiledRun{File: id.file, First: f.p.no, Count: 1, Extent: id.no, Zero: f.blank, Lied: lied}
	if !f.blank {
		r.Slot = f.slot
	}
	row.Runs = append(row.Runs, r)
}

// blankRow is the row of an extent all of which is zero. It depends on the extent
// alone, so that it can be written twice under one name.
func blankRow(a *attempt, c *schemas.ExtentCut) *schemas.FiledPages {
	row := &schemas.FiledPages{Run: a.run(), Totals: &schemas.Totals{}, SnapshotId: a.snapshot,
		Closed: []*schemas.ClosedExtent{{File: c.File, Extent: c.Extent}}}
	s := shapeOf(c)
	e := &extent{id: extentID{c.File, c.Extent}}
	for _, p := range c.Pages {
		appendRun(row, filing{p: &page{ext: e, no: p.No}, blank: true})
		row.Totals.ZeroBytes += s.bytes(p.No, 1)
	}
	return row
}

// apply takes a row: one just written, recalled, or of a rival. Name is the row's
// within the lease. The same row twice changes nothing.
func (a *attempt) apply(name string, row *schemas.FiledPages) *fault {
	if a.rows[name] {
		return nil
	}
	a.rows[name] = true
	pack := uint32(0)
	if row.MapPack != nil {
		id, err := vault.PackIDFromProto(row.MapPack)
		if err != nil {
			return faultf(codeShape, "row %s: %v", name, err)
		}
		pack = a.numberOf(id)
	}
	added := uint32(0)
	for _, r := range row.Runs {
		s := span{first: r.First, count: r.Count, pack: pack, slot: r.Slot}
		if r.Zero || pack == 0 {
			s.pack, s.slot = 0, 0
		}
		if n := a.file(r.File).filed.add(s); n > 0 {
			added += n
			a.file(r.File).lied += uint64(r.Lied)
		}
		a.shut(extentID{r.File, r.Extent}, r.First, r.Count)
	}
	for _, c := range row.Closed {
		a.file(c.File).closed.add(c.Extent)
	}
	if added > 0 { // else a rival filed them too, and counted them
		addTotals(&a.totals, row.Totals)
	}
	if row.Redundancy != 0 && (a.redundancy == 0 || row.Redundancy < a.redundancy) {
		a.redundancy = row.Redundancy
	}
	if row.SnapshotId == "" {
		return nil
	}
	return a.of(row.SnapshotId)
}

func (a *attempt) numberOf(id vault.PackID) uint32 {
	n := a.packNo[id]
	if n == 0 {
		a.packs = append(a.packs, id)
		n = uint32(len(a.packs))
		a.packNo[id] = n
	}
	return n
}

// shut takes filed pages out of their open extent.
func (a *attempt) shut(id extentID, first, count uint32) {
	e := a.open[id]
	if e == nil {
		return
	}
	for no := range e.pages {
		if no-first < count {
			delete(e.pages, no)
		}
	}
	if e.cut && len(e.pages) == 0 {
		a.file(id.file).closed.add(id.no)
	}
}

// settle removes the extents of which nothing is left to do, and returns which of
// them are closed, what is held for them, and the stragglers to wait for.
func (a *attempt) settle() (shut []*schemas.ClosedExtent, holds []releaser, lands []<-chan struct{}) {
	for id, e := range a.open {
		over := a.file(id.file).closed.has(id.no)
		if e.landing > 0 || !over && (e.cut || len(e.pages) > 0) {
			continue
		}
		delete(a.open, id)
		if over {
			shut = append(shut, &schemas.ClosedExtent{File: id.file, Extent: id.no})
		}
		holds, lands = append(holds, e.holds...), append(lands, e.lands...)
	}
	return shut, holds, lands
}

func addTotals(t, u *schemas.Totals) {
	t.Bytes += u.GetBytes()
	t.ReadBytes += u.GetReadBytes()
	t.FreshBytes += u.GetFreshBytes()
	t.KnownBytes += u.GetKnownBytes()
	t.ZeroBytes += u.GetZeroBytes()
	t.InheritedBytes += u.GetInheritedBytes()
	t.StoredBytes += u.GetStoredBytes()
	t.Places += u.GetPlaces()
	t.ClaimedPlaces += u.GetClaimedPlaces()
	t.LiedPlaces += u.GetLiedPlaces()
}
