package auditor

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// landing is what a room has in a map pack that a quorum of targets holds.
type landing struct {
	pack       vault.PackID // zero: pages that lie nowhere
	redundancy uint32
	done       <-chan struct{} // every target that can has answered; nil: none was asked
	pages      []filing
	took       time.Duration // to put the map pack, this room's part
}

// drain files what is full of the attempt and reads what is wanted of its base.
func (r *room) drain(b *backup, a *attempt) error {
	for !a.over {
		ready, wants := a.take()
		if len(ready) == 0 && len(wants) == 0 {
			break
		}
		if len(wants) > 0 {
			r.read(b, a, wants)
		}
		for _, p := range ready {
			out, blank, f := p.build(p.ext.shape)
			if f != nil {
				return r.fail(b, a, f)
			}
			if err := r.filer.add(r, filing{a: a, p: p, out: out, blank: blank}); err != nil {
				return r.fail(b, a, faultf(codeShape, "file %d: %v", p.ext.id.file, err))
			}
		}
	}
	return nil
}

// land queues a landing: rows are written in the order in which they close extents.
func (r *room) land(l *landing) {
	r.landed = append(r.landed, l)
	r.write()
}

// record is what a landing means for one attempt.
type record struct {
	a      *attempt
	within string // name of the row, within the lease
	row    *schemas.FiledPages
	exts   map[*extent]bool
}

// write makes rows of the first landing: first the ledger is told, since a page
// whose row stands is never looked at again; then the rows; then the exporter.
func (r *room) write() {
	if r.writing || len(r.landed) == 0 {
		return
	}
	r.writing = true
	begun := r.now()
	l := r.landed[0]
	r.landed = r.landed[1:]
	recs, places := r.records(l)
	var rows, credits []topics.Event
	for _, c := range recs {
		rows = append(rows, r.row(schemas.UUID(c.a.run().Backup), pagesRow(c.a.lease[:], c.within),
			&schemas.PageFiled{Row: &schemas.PageFiled_Pages{Pages: c.row}}))
		if len(c.row.Closed) > 0 {
			credits = append(credits, closedEvent(c.a, c.row.Closed))
		}
	}
	r.work(begun)
	r.worked += l.took
	if len(places) > 0 {
		topics.Took(r.spent(), places...)
	}
	r.Go(func(context.Context) func() {
		for _, events := range [][]topics.Event{places, rows, credits} {
			if r.Put(events...) != nil {
				return nil
			}
		}
		return func() {
			r.writing = false
			for _, c := range recs {
				r.complain(r.wrote(c))
			}
			r.write()
		}
	})
}

// records sorts a landing by attempt. Pages of attempts that are over are dropped.
func (r *room) records(l *landing) (recs []*record, places []topics.Event) {
	of := map[*attempt][]filing{}
	for _, f := range l.pages {
		if !f.a.over && f.p.ext.pages[f.p.no] == f.p {
			of[f.a] = append(of[f.a], f)
		}
	}
	for a, pages := range of {
		c := &record{a: a, within: l.pack.String(), row: rowOf(a, l.pack, l.redundancy, pages), exts: map[*extent]bool{}}
		if l.pack.IsZero() {
			c.within = "zero/" + vault.NewPackID(0).Hex()
		}
		by := map[*extent][]filing{}
		for _, f := range pages {
			by[f.p.ext] = append(by[f.p.ext], f)
		}
		for e, pages := range by {
			c.exts[e] = true
			e.landing++
			if l.done != nil {
				e.lands = append(e.lands, l.done)
			}
			places = append(places, r.placesOf(a, e, l.pack, pages))
		}
		recs = append(recs, c)
	}
	return recs, places
}

// wrote: the rows of a landing are acknowledged.
func (r *room) wrote(c *record) error {
	for e := range c.exts {
		e.landing--
	}
	b := r.backups[schemas.UUID(c.a.run().Backup)]
	if b == nil || c.a.over {
		r.stale[staleRow{schemas.UUID(c.a.run().Backup), pagesRow(c.a.lease[:], c.within)}] = true
		return nil
	}
	if f := c.a.apply(c.within, c.row); f != nil {
		return r.fail(b, c.a, f)
	}
	b.moved, b.stirred, b.look = true, true, true
	_, holds, lands := c.a.settle()
	r.Go(func(ctx context.Context) func() {
		for _, done := range lands {
			select {
			case <-done:
			case <-ctx.Done():
				return nil
			}
		}
		release(holds)
		return nil
	})
	return r.complete(b)
}

// fileZero files an extent of zeros, for which no object is needed, and closes it.
func (r *room) fileZero(i *input, b *backup, a *attempt, c *schemas.ExtentCut) error {
	row := blankRow(a, c)
	e := &extent{id: extentID{c.File, c.Extent}, shape: shapeOf(c)}
	var pages []filing
	for _, p := range c.Pages {
		pages = append(pages, filing{p: &page{ext: e, no: p.No, zero: p.Zero}, blank: true})
	}
	if err := r.Put(topics.Took(r.spent(), r.placesOf(a, e, vault.PackID{}, pages))...); err != nil {
		return err
	}
	if f := a.apply(zeroRow(c), row); f != nil {
		return r.fail(b, a, f)
	}
	i.emit(r.row(b.id, pagesRow(a.lease[:], zeroRow(c)), &schemas.PageFiled{Row: &schemas.PageFiled_Pages{Pages: row}}))
	i.emit(closedEvent(a, row.Closed))
	b.moved, b.stirred, b.look = true, true, true
	return nil
}

// placesOf tells the ledger what became of the places of pages of one extent.
func (r *room) placesOf(a *attempt, e *extent, pack vault.PackID, pages []filing) topics.Event {
	out := &schemas.PlacesFiled{Run: a.run(), Machine: a.leased.Machine, Job: a.leased.Job, Tenant: a.leased.Tenant, File: e.id.file,
		GridBytes: e.shape.grid, Cut: &schemas.Places{}, AtMs: r.now().UnixMilli()}
	if f := a.files[e.id.file]; f != nil && f.facts != nil {
		out.Name = f.facts.Name
	}
	if !pack.IsZero() {
		out.MapPack = pack.Proto()
	}
	packs := map[vault.PackID]uint32{}
	var t took
	for _, f := range pages {
		t.most(f.p.took)
		first := uint64(f.p.no) * cut.PagePlaces
		for _, p := range f.p.places {
			appendPlace(out, packs, first+uint64(p.n), p, f.out.Places[p.n].Plain, e.shape)
		}
		for _, m := range []struct {
			places    uint64
			inherited bool
		}{{f.p.zero, false}, {f.p.inherit, true}} {
			for m.places != 0 {
				from := bits.TrailingZeros64(m.places)
				n := bits.TrailingZeros64(^(m.places >> from))
				out.Runs = append(out.Runs, &schemas.PlaceRun{First: first + uint64(from), Count: uint64(n), Inherited: m.inherited})
				m.places &^= mask(n) << from
			}
		}
	}
	out.LookupUs, out.SealUs, out.PutUs = t.lookup, t.seal, t.put
	return topics.PlacesFiled.Event(a.run().Backup, out)
}

func appendPlace(out *schemas.PlacesFiled, packs map[vault.PackID]uint32, at uint64, p place, plain uint32, s shape) {
	n, ok := packs[p.Pack]
	if !ok {
		n = uint32(len(packs))
		packs[p.Pack] = n
		out.Cut.Packs = append(out.Cut.Packs, p.Pack.Proto())
	}
	known := byte(1)
	if p.fresh {
		known = 0
	}
	if s.grid != 0 {
		plain = uint32(s.length(at))
	}
	c := out.Cut
	c.Places, c.Ids, c.Pack = append(c.Places, at), append(c.Ids, p.ID[:]...), append(c.Pack, n)
	c.Offsets, c.Framed, c.Lengths = append(c.Offsets, p.Offset), append(c.Framed, p.Framed), append(c.Lengths, plain)
	out.Known = append(out.Known, known)
}

// complain tells of an error that nobody else will: its room has ended.
func (r *room) complain(err error) {
	if err != nil && r.Context().Err() == nil {
		r.Fail(fmt.Errorf("auditor: %w", err))
	}
}
