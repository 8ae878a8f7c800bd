package auditor

import (
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// attempt is one lease of a backup, as far as its bytes go. It knows nothing of
// Kafka or the vault: it takes records in any order and any number of times, and
// says which pages are full and what to read from the base.
type attempt struct {
	lease  schemas.UUID
	leased *schemas.BackupLeased // nil: only rows of it were recalled
	failed *fault
	untold bool   // the word that it failed may be lost
	broken *fault // its rows contradict each other
	over   bool   // failed, superseded or judged: nothing of it is followed any more

	snapshot string
	finished *schemas.Finished
	files    map[uint32]*file
	open     map[extentID]*extent

	packs      []vault.PackID // that its pages lie in
	packNo     map[vault.PackID]uint32
	rows       map[string]bool   // rows of pages that count: names within the lease
	parts      map[string][]byte // of its point, by name within the lease
	totals     schemas.Totals
	redundancy uint32

	base    *base // once read
	reading bool
	later   []*page // wants that wait for the base

	ready []*page // full, to be filed: taken by the caller
	wants []*page // whose base page is to be read: taken by the caller
}

func newAttempt(lease schemas.UUID) *attempt {
	return &attempt{lease: lease, files: map[uint32]*file{}, open: map[extentID]*extent{},
		packNo: map[vault.PackID]uint32{}, rows: map[string]bool{}, parts: map[string][]byte{}}
}

func (a *attempt) run() *schemas.Run { return a.leased.GetRun() }

func (a *attempt) file(no uint32) *file {
	f := a.files[no]
	if f == nil {
		f = &file{no: no}
		a.files[no] = f
	}
	return f
}

func (a *attempt) extent(id extentID) *extent {
	e := a.open[id]
	if e == nil {
		e = &extent{id: id, pages: map[uint32]*page{}}
		a.open[id] = e
	}
	return e
}

// fate is what becomes of a record.
type fate int

const (
	done   fate = iota
	held        // until its extent closes
	closed      // its extent is closed: say so again
)

// expect takes extents.cut: what each page of an extent must come to hold. zero:
// nothing but zeros, so that it is filed and closed at once, by its blankRow.
func (a *attempt) expect(c *schemas.ExtentCut) (f fate, zero bool, err *fault) {
	if err := a.of(c.SnapshotId); err != nil {
		return done, false, err
	}
	id := extentID{c.File, c.Extent}
	fl := a.file(c.File)
	if err := fl.shaped(shapeOf(c)); err != nil {
		return done, false, err
	}
	if fl.closed.has(c.Extent) {
		return closed, false, nil
	}
	e := a.extent(id)
	if err := e.expect(c, fl.filed.has); err != nil {
		return done, false, err
	}
	if len(e.pages) == 0 {
		fl.closed.add(c.Extent)
		return closed, false, nil
	}
	if blank(c) {
		return done, true, nil
	}
	for _, p := range e.pages {
		if p.waits() && !p.wanted {
			p.wanted = true
			a.wants = append(a.wants, p)
		}
		if err := a.advance(p); err != nil {
			return done, false, err
		}
	}
	return held, false, nil
}

// of takes the snapshot that a record is of: an attempt has one.
func (a *attempt) of(snapshot string) *fault {
	if a.snapshot == "" {
		a.snapshot = snapshot
	}
	if a.snapshot != snapshot {
		return faultf(codeSnapshot, "snapshot %q, and before %q", snapshot, a.snapshot)
	}
	return nil
}

// answers is a record of chunks.known or chunks.landed.
type answers struct {
	ext        extentID
	places     *schemas.Places
	fresh      bool
	took       took
	redundancy uint32
}

// answer takes it.
func (a *attempt) answer(r answers) (fate, *fault) {
	fl := a.file(r.ext.file)
	if fl.closed.has(r.ext.no) {
		return closed, nil
	}
	f := done
	var last *page
	for i, n := range r.places.Places {
		no := uint32(n / cut.PagePlaces)
		if fl.filed.has(no) {
			continue
		}
		e := a.extent(r.ext)
		p := e.pages[no]
		if p == nil && e.cut {
			return done, faultf(codeShape, "file %d, extent %d: an answer for page %d, which is not of it", r.ext.file, r.ext.no, no)
		}
		f, p = held, e.page(no)
		if err := p.fill(placeOf(r, i)); err != nil {
			return done, err
		}
		p.took.most(r.took)
		if r.redundancy != 0 && (p.redundancy == 0 || r.redundancy < p.redundancy) {
			p.redundancy = r.redundancy
		}
		if last != nil && last != p {
			if err := a.advance(last); err != nil {
				return done, err
			}
		}
		last = p
	}
	if last == nil {
		return f, nil
	}
	return f, a.advance(last)
}

func placeOf(r answers, i int) place {
	p := r.places
	pack := p.Packs[p.Pack[i]]
	out := place{n: uint8(p.Places[i] % cut.PagePlaces), fresh: r.fresh, PagePlace: vault.PagePlace{Kind: vault.PlaceChunk,
		ID: cut.ID(p.Ids[32*i:]), Pack: vault.PackID{Birth: pack.Birth, ID: [16]byte(pack.Id)}, Offset: p.Offsets[i], Framed: p.Framed[i]}}
	if len(p.Lengths) > 0 {
		out.Plain = p.Lengths[i]
	}
	return out
}

// inherited gives an open page what its base's page holds.
func (a *attempt) inherited(p *page, base *vault.Page) *fault {
	if p.base != nil || p.filing {
		return nil
	}
	p.base = base
	return a.advance(p)
}

// advance moves a page on that has all it needs.
func (a *attempt) advance(p *page) *fault {
	if p.filing {
		return nil
	}
	full, err := p.check()
	if err != nil || !full || p.waits() {
		return err
	}
	p.filing = true
	a.ready = append(a.ready, p)
	return nil
}

// take empties what is ready and what is wanted.
func (a *attempt) take() (ready, wants []*page) {
	ready, wants = a.ready, a.wants
	a.ready, a.wants = nil, nil
	return ready, wants
}

// end drops what is open and returns the records that were held for it.
func (a *attempt) end() (holds []releaser) {
	a.over = true
	for _, e := range a.open {
		holds = append(holds, e.holds...)
	}
	a.open, a.ready, a.wants, a.later, a.base = nil, nil, nil, nil, nil
	return holds
}
