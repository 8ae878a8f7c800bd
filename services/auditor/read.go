package auditor

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// load reads the base point of an attempt, once, and then sees to what waited for it.
func (r *room) load(b *backup, a *attempt) {
	if a.reading || a.base != nil {
		return
	}
	a.reading = true
	want := a.leased.GetBase()
	r.Go(func(ctx context.Context) func() {
		var p *vault.Point
		err := weather(ctx, r.log, "read "+want.GetPath(), func() (err error) {
			p, err = r.Reader.Point(ctx, want.GetPath())
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		return func() {
			a.reading = false
			r.complain(r.loaded(b, a, want, p, err))
		}
	})
}

func (r *room) loaded(b *backup, a *attempt, want *schemas.Point, p *vault.Point, err error) error {
	switch {
	case a.over:
		return nil
	case err != nil:
		return r.fail(b, a, faultf(codeBase, "%v", err))
	case !bytes.Equal(p.GetRun().GetLease(), want.GetLease()):
		return r.fail(b, a, faultf(codeBase, "point %s is of lease %s, wanted is %s", want.GetPath(),
			schemas.IDText(p.GetRun().GetLease()), schemas.IDText(want.GetLease())))
	}
	a.base = newBase(want.GetPath(), p)
	later := a.later
	a.later = nil
	r.read(b, a, later)
	if err := r.drain(b, a); err != nil {
		return err
	}
	return r.act(b)
}

// wanted is a page and where its base's page lies.
type wanted struct {
	p    *page
	pack vault.PackID // zero: the base's page is all zero
	slot uint32
	page *vault.Page
}

// read gets pages of the base for open pages: those of one map pack together, and
// early, while their chunks are still on the way.
func (r *room) read(b *backup, a *attempt, pages []*page) {
	if len(pages) == 0 {
		return
	}
	if a.base == nil {
		a.later = append(a.later, pages...)
		if a.leased.GetBase() == nil {
			r.Post(func() { r.complain(r.fail(b, a, faultf(codeBase, "its pages inherit, and the lease names no base"))) })
			return
		}
		r.load(b, a)
		return
	}
	wants := make([]*wanted, 0, len(pages))
	for _, p := range pages {
		w, f := find(a.base, p)
		if f != nil {
			r.Post(func() { r.complain(r.fail(b, a, f)) })
			return
		}
		wants = append(wants, w)
	}
	r.Go(func(ctx context.Context) func() {
		err := r.fetch(ctx, wants)
		if ctx.Err() != nil {
			return nil
		}
		return func() { r.complain(r.fetched(b, a, wants, err)) }
	})
}

// find says where the base has a page.
func find(base *base, p *page) (*wanted, *fault) {
	bf, f := base.lender(p.ext.base, p.ext.shape)
	if f != nil {
		return nil, f
	}
	if f := bf.lends(p.ext.shape, p.no, p.inherit|p.claimed); f != nil {
		return nil, f
	}
	w := &wanted{p: p}
	for run := range bf.runs(p.no, 1) {
		w.pack, w.slot = run.Map, run.Slot
	}
	if w.pack.IsZero() {
		w.page = &vault.Page{No: p.no, Places: make([]vault.PagePlace, bf.shape.places(p.no))}
		for i := range w.page.Places {
			w.page.Places[i].Kind = vault.PlaceZero
		}
	}
	return w, nil
}

// fetch reads the pages that lie somewhere, each map pack's in one call.
func (r *room) fetch(ctx context.Context, wants []*wanted) error {
	wants = slices.DeleteFunc(slices.Clone(wants), func(w *wanted) bool { return w.page != nil })
	slices.SortFunc(wants, func(x, y *wanted) int { return cmp.Or(x.pack.Compare(y.pack), cmp.Compare(x.slot, y.slot)) })
	for len(wants) > 0 {
		n := 1
		for n < len(wants) && wants[n].pack == wants[0].pack {
			n++
		}
		if err := r.fetchPack(ctx, wants[:n]); err != nil {
			return err
		}
		wants = wants[n:]
	}
	return nil
}

func (r *room) fetchPack(ctx context.Context, wants []*wanted) error {
	select {
	case r.reads <- struct{}{}:
		defer func() { <-r.reads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	slots := make([]uint32, len(wants))
	for i, w := range wants {
		slots[i] = w.slot
	}
	return weather(ctx, r.log, "read pages of "+wants[0].pack.String(), func() error {
		pages, err := r.Reader.Pages(ctx, wants[0].pack, slots)
		if err != nil {
			return err
		}
		for i, w := range wants {
			if pages[i].No != w.p.no {
				return fmt.Errorf("map pack %s, slot %d: %w: page %d, wanted is %d", w.pack, w.slot, vault.ErrDamaged, pages[i].No, w.p.no)
			}
			w.page = &pages[i]
		}
		return nil
	})
}

func (r *room) fetched(b *backup, a *attempt, wants []*wanted, err error) error {
	if a.over {
		return nil
	}
	if err != nil {
		return r.fail(b, a, faultf(codeBase, "%v", err))
	}
	for _, w := range wants {
		if f := a.inherited(w.p, w.page); f != nil {
			return r.fail(b, a, f)
		}
	}
	return r.drain(b, a)
}
