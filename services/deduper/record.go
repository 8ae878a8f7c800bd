package deduper

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// record is one cut record and what is not told of it yet. It is held while a
// place of it waits, or while it asks of an epoch that is not applied here.
type record struct {
	cut     *schemas.ChunksCut
	hold    hold   // nil: not held
	waits   []bool // of the places; nil: none ever waited
	left    int    // places that wait
	sending int    // times that something is told and not acknowledged
	over    bool   // nothing is waited for any more
	touched bool

	known    *schemas.ChunksKnown // answers to tell
	fresh    []int32              // places to send
	lookupUS uint32
	took     time.Duration // to judge it, and not told yet
}

// hold is the runner's: it keeps the cut record undone until it is released.
type hold interface{ Release(...topics.Event) }

// wrong says what is false about a cut record for the room of a partition.
func wrong(c *schemas.ChunksCut, part, parts int32) error {
	run, refs := c.GetRun(), c.GetRefs()
	n := len(refs.GetPlaces())
	switch {
	case len(run.GetBackup()) != 16 || len(run.GetLease()) != 16:
		return fmt.Errorf("run: backup of %d and lease of %d bytes, want 16", len(run.GetBackup()), len(run.GetLease()))
	case n == 0:
		return errors.New("no places")
	case len(refs.Ids) != 32*n || len(refs.Offsets) != n || len(refs.Lengths) != n:
		return fmt.Errorf("%d places, %d bytes of ids, %d offsets, %d lengths", n, len(refs.Ids), len(refs.Offsets), len(refs.Lengths))
	}
	for i := range n {
		if id := refs.Ids[32*i : 32*i+32]; topics.ChunkPart(id, parts) != part {
			return fmt.Errorf("chunk %x of place %d belongs to partition %d of %d", id, refs.Places[i], topics.ChunkPart(id, parts), parts)
		}
	}
	return nil
}

func (r *record) id(ref int) cut.ID { return cut.ID(r.cut.Refs.Ids[32*ref:]) }

// await, answer and send say what becomes of a place: it waits; it is known; it goes fresh.
func (r *record) await(ref int) {
	if r.waits == nil {
		r.waits = make([]bool, len(r.cut.Refs.Places))
	}
	r.waits[ref] = true
	r.left++
}

func (r *record) answer(ref int, at index.Place, applied uint64) {
	r.done(ref)
	if r.known == nil {
		// An answer told later was judged now: epochs only rise, so the first is the lowest.
		r.known = &schemas.ChunksKnown{Run: r.cut.Run, Judged: applied, File: r.cut.File, Extent: r.cut.Extent,
			Places: &schemas.Places{}, LookupUs: r.lookupUS}
	}
	refs, p := r.cut.Refs, r.known.Places
	p.Places = append(p.Places, refs.Places[ref])
	p.Ids = append(p.Ids, refs.Ids[32*ref:32*ref+32]...)
	p.Pack = append(p.Pack, packAmong(p, at.Pack))
	p.Offsets = append(p.Offsets, at.Offset)
	p.Framed = append(p.Framed, at.Framed)
	p.Lengths = append(p.Lengths, refs.Lengths[ref])
}

// packAmong finds or adds a pack. Neighbours mostly share one, so it looks from the end.
func packAmong(p *schemas.Places, id vault.PackID) uint32 {
	for i := len(p.Packs) - 1; i >= 0; i-- {
		if p.Packs[i].Birth == id.Birth && [16]byte(p.Packs[i].Id) == id.ID {
			return uint32(i)
		}
	}
	p.Packs = append(p.Packs, id.Proto())
	return uint32(len(p.Packs) - 1)
}

func (r *record) send(ref int) {
	r.done(ref)
	r.fresh = append(r.fresh, int32(ref))
}

func (r *record) done(ref int) {
	if r.waits != nil && r.waits[ref] {
		r.waits[ref] = false
		r.left--
	}
}

// tell returns what is to be told of r, once. What must be stored is told at once;
// answers are, unless all, when nothing waits any more.
func (r *record) tell(all bool) (events []topics.Event) {
	if len(r.fresh) > 0 {
		f := &schemas.ChunksFresh{Run: r.cut.Run, File: r.cut.File, Extent: r.cut.Extent, Blob: r.cut.Blob, Refs: r.pick(r.fresh),
			ReadUs: r.cut.ReadUs, CutUs: r.cut.CutUs, LookupUs: r.lookupUS}
		events = append(events, topics.ChunksFresh.Event(topics.ExtentKey(r.cut.Run.Backup, r.cut.File, r.cut.Extent), f))
		r.fresh = r.fresh[:0]
	}
	if r.known != nil && (all || r.left == 0) {
		events = append(events, topics.ChunksKnown.Event(r.cut.Run.Backup, r.known))
		r.known = nil
	}
	if len(events) > 0 {
		events, r.took = topics.Took(r.took, events...), 0
	}
	return events
}

func (r *record) pick(places []int32) *schemas.Refs {
	from, n := r.cut.Refs, len(places)
	refs := &schemas.Refs{Ids: make([]byte, 0, 32*n), Places: make([]uint64, 0, n), Offsets: make([]uint32, 0, n), Lengths: make([]uint32, 0, n)}
	for _, i := range places {
		refs.Ids = append(refs.Ids, from.Ids[32*i:32*i+32]...)
		refs.Places = append(refs.Places, from.Places[i])
		refs.Offsets = append(refs.Offsets, from.Offsets[i])
		refs.Lengths = append(refs.Lengths, from.Lengths[i])
	}
	return refs
}
