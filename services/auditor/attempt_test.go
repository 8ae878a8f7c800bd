package auditor

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Goal: whatever the order of records, however often each comes, and wherever the
// room dies, an attempt completes exactly when nothing is missing, and its point
// shows each place as it truly is.
// Method: a drawn machine; its records are delivered in drawn order, repeated at
// will; pages are filed in drawn batches; now and then the room dies and is made
// again from its rows, and what was not done comes again, with some of what was.
func TestAnyOrderGivesTheSamePoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 3, 4)
		p := &play{world: w, t: t, rows: map[string]*schemas.FiledPages{}}
		p.start()
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			p.step(rapid.IntRange(0, 11).Draw(t, "step"))
		}
		p.finish()
	})
}

// play drives an attempt as a room would.
type play struct {
	*world
	t     *rapid.T
	a     *attempt
	left  []any // records not done
	gone  []any // records done: they may come again
	held  []any
	order []string // of rows
	rows  map[string]*schemas.FiledPages
	kept  []*schemas.FileExported // facts that are rows
	full  []*page
	wants []*page
	packs uint64

	deaths int
}

func (p *play) start() {
	for _, c := range p.cuts {
		p.left = append(p.left, c)
	}
	for _, r := range p.said {
		p.left = append(p.left, r)
	}
	for _, f := range p.facts {
		p.left = append(p.left, f)
	}
	p.reborn()
}

// reborn is a new room: it has rows only, and held records come again.
func (p *play) reborn() {
	p.a = newAttempt(testLease)
	p.a.leased = p.leased
	for _, name := range p.order {
		p.no(p.a.apply(name, p.rows[name]))
	}
	for _, f := range p.kept {
		p.no(p.a.exported(f))
	}
	p.left, p.held = append(p.left, p.held...), nil
	p.full, p.wants = nil, nil
}

func (p *play) no(f *fault) {
	if f != nil {
		p.t.Fatalf("fault: %v", f)
	}
}

func (p *play) step(n int) {
	switch {
	case n < 6 && len(p.left) > 0:
		i := rapid.IntRange(0, len(p.left)-1).Draw(p.t, "record")
		r := p.left[i]
		p.left = slices.Delete(p.left, i, i+1)
		p.deliver(r)
	case n == 6 && len(p.gone) > 0:
		p.deliver(p.gone[rapid.IntRange(0, len(p.gone)-1).Draw(p.t, "again")])
	case n == 7 && len(p.held) > 0:
		p.deliver(p.held[rapid.IntRange(0, len(p.held)-1).Draw(p.t, "twice")])
	case n == 8 || n == 9:
		p.file(rapid.IntRange(0, len(p.full)).Draw(p.t, "pages"))
	case n == 10:
		p.read()
	case n == 11 && rapid.IntRange(0, 4).Draw(p.t, "die") == 0:
		p.deaths++
		p.reborn()
	}
	p.check()
}

func (p *play) deliver(r any) {
	f := done
	switch r := r.(type) {
	case *schemas.ExtentCut:
		fate, zero, err := p.a.expect(r)
		p.no(err)
		if f = fate; zero {
			p.write(fmt.Sprintf("zero/%d/%d", r.File, r.Extent), blankRow(p.a, r))
		}
	case answers:
		fate, err := p.a.answer(r)
		p.no(err)
		f = fate
	case *schemas.FileExported:
		p.no(p.a.exported(r))
		p.kept = append(p.kept, r)
	}
	if f == held {
		p.held = append(p.held, r)
	} else {
		p.gone = append(p.gone, r)
	}
	ready, wants := p.a.take()
	p.full, p.wants = append(p.full, ready...), append(p.wants, wants...)
}

func (p *play) write(name string, row *schemas.FiledPages) {
	if p.rows[name] == nil {
		p.order = append(p.order, name)
	}
	p.rows[name] = row
	p.no(p.a.apply(name, row))
	p.a.settle()
	open := func(file uint32, no uint64) bool { return p.a.open[extentID{file, no}] != nil }
	for i := len(p.held) - 1; i >= 0; i-- { // what its extent held is done
		var still bool
		switch r := p.held[i].(type) {
		case *schemas.ExtentCut:
			still = open(r.File, r.Extent)
		case answers:
			still = open(r.ext.file, r.ext.no)
		}
		if !still {
			p.gone, p.held = append(p.gone, p.held[i]), slices.Delete(p.held, i, i+1)
		}
	}
}

// file lands n full pages in one map pack.
func (p *play) file(n int) {
	if n == 0 {
		return
	}
	p.packs++
	pack := testPack('m', p.packs)
	var batch []filing
	for _, pg := range p.full[:n] {
		out, blank, err := pg.build(pg.ext.shape)
		p.no(err)
		f := filing{a: p.a, p: pg, out: out, blank: blank}
		if !blank {
			f.slot = uint32(len(p.store[pack]))
			p.store[pack] = append(p.store[pack], out)
		}
		batch = append(batch, f)
	}
	p.full = p.full[n:]
	row := rowOf(p.a, pack, 3, batch)
	p.write(pack.String(), row)
	if rapid.IntRange(0, 3).Draw(p.t, "rival") == 0 { // who files the same pages elsewhere
		rival := proto.CloneOf(row)
		other := testPack('r', p.packs)
		p.store[other], rival.MapPack = p.store[pack], other.Proto()
		p.write(other.String(), rival)
	}
}

func (p *play) read() {
	for _, pg := range p.wants {
		bf, err := p.base.lender(pg.ext.base, pg.ext.shape)
		p.no(err)
		p.no(bf.lends(pg.ext.shape, pg.no, pg.inherit))
		p.no(p.a.inherited(pg, p.basePage(pg.ext.id.file, pg.no)))
	}
	p.wants = nil
	ready, _ := p.a.take()
	p.full = append(p.full, ready...)
}

func (p *play) finish() {
	for len(p.left) > 0 {
		p.step(0)
	}
	p.read()
	p.file(len(p.full))
	if ok, err := p.a.complete(); !ok || err != nil {
		p.t.Fatalf("all is filed, and it is not complete: %v", err)
	}
	if len(p.held) > 0 || len(p.a.open) > 0 {
		p.t.Fatalf("%d records are held still, %d extents open", len(p.held), len(p.a.open))
	}
	p.check()
}

// check demands of a complete attempt that its point is the truth.
func (p *play) check() {
	ok, err := p.a.complete()
	p.no(err)
	if !ok {
		return
	}
	sums, err := p.a.inherent(p.base)
	p.no(err)
	v := p.a.verdict(sums, "points/new", 3)
	point, err := p.a.point(p.base, v)
	p.no(err)
	if err := vault.CheckPoint(point); err != nil {
		p.t.Fatal(err)
	}
	for _, f := range point.Files {
		p.same(point, f)
	}
	if t := v.Totals; t.FreshBytes+t.KnownBytes+t.ZeroBytes+t.InheritedBytes != t.Bytes {
		p.t.Fatalf("bytes do not add up: %v", t)
	}
	// A page that was filed twice, after a death, may count twice; none is missed.
	if t := v.Totals; t.LiedPlaces < p.lied || t.ClaimedPlaces < p.claimed || (t.LiedPlaces == 0) != (p.lied == 0) || t.LiedPlaces > p.lied && p.deaths == 0 {
		p.t.Fatalf("%d of %d claimed places lie, want %d of %d", t.LiedPlaces, t.ClaimedPlaces, p.lied, p.claimed)
	}
	byFile := uint64(0)
	for _, f := range p.a.files {
		byFile += f.lied
	}
	if byFile < p.lied || byFile > v.Totals.LiedPlaces {
		p.t.Fatalf("%d places of files lie, and %d of the backup", byFile, v.Totals.LiedPlaces)
	}
	if got := len(v.Warnings); (got > 0) != (p.lied > 0) {
		p.t.Fatalf("warnings are %q, and %d places lie", v.Warnings, p.lied)
	}
}

func (p *play) same(point *vault.Point, f *schemas.PointFile) {
	if f.Via != testVia {
		p.t.Fatalf("file %d is read via %q on the point, want %q", f.No, f.Via, testVia)
	}
	at := 0
	for r := range vault.Runs(point, f) {
		for i := range r.Count {
			n := (shape{f.SizeBytes, f.GridBytes}).places(r.First + i)
			got := make([]vault.PagePlace, n)
			for j := range got {
				got[j].Kind = vault.PlaceZero
			}
			if !r.Map.IsZero() {
				pg := p.store[r.Map][r.Slot+i]
				if pg.No != r.First+i {
					p.t.Fatalf("file %d: page %d where page %d should be", f.No, pg.No, r.First+i)
				}
				got = pg.Places
			}
			if want := p.truth[f.No][at : at+n]; !slices.Equal(got, want) {
				p.t.Fatalf("file %d, page %d: got %v, want %v", f.No, r.First+i, got, want)
			}
			at += n
		}
	}
}
