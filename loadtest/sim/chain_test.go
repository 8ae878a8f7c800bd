//go:build synctests

package sim

import (
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// spot is a place of an extent of a lease; or, without place, the extent.
type spot struct {
	lease  schemas.UUID
	file   uint32
	extent uint64
	place  uint64
}

const noPlace = ^uint64(0)

func extentOf(r *schemas.Run, file uint32, extent uint64) spot {
	lease, _ := schemas.UUIDOf(r.GetLease())
	return spot{lease, file, extent, noPlace}
}

func (s spot) at(place uint64) spot { s.place = place; return s }

// faults are the extents and leases of which something is told to be lost.
type faults struct {
	extents map[spot]bool
	leases  map[schemas.UUID]bool
}

func (f faults) has(s spot) bool { return f.leases[s.lease] || f.extents[s.at(noPlace)] }

// chain holds each input that is committed, and at rest all are, against its
// outputs: an input without one was committed before its work was done.
func (w *world) chain() {
	s := w.scribe
	told := faults{map[spot]bool{}, map[schemas.UUID]bool{}}
	for _, f := range all(s, topics.BackupsFaulted) {
		x := extentOf(f.Run, f.File, f.Extent)
		told.extents[x] = true
		told.leases[x.lease] = told.leases[x.lease] || f.Whole
	}
	cut, answered, given := map[spot]bool{}, map[spot]bool{}, map[spot]bool{}
	for _, c := range all(s, topics.ExtentsCut) {
		cut[extentOf(c.Run, c.File, c.Extent)] = true
	}
	for _, k := range all(s, topics.ChunksKnown) {
		mark(answered, extentOf(k.Run, k.File, k.Extent), k.Places.GetPlaces())
	}
	for _, f := range all(s, topics.ChunksFresh) {
		mark(answered, extentOf(f.Run, f.File, f.Extent), f.Refs.GetPlaces())
	}
	for _, d := range all(s, topics.ChunksDropped) {
		mark(given, extentOf(d.Run, d.File, d.Extent), d.Places)
	}
	packs := map[string]bool{}
	for _, row := range all(s, topics.ChunksStored) {
		packs[string(row.GetPack().GetPack().GetId())] = true
	}
	for _, p := range all(s, topics.PacksSealed) {
		lost := false
		for _, e := range p.Extents {
			x := extentOf(e.Run, e.File, e.Extent)
			mark(given, x, e.Places)
			lost = lost || told.has(x)
		}
		w.check(packs[string(p.Pack.GetId())] || lost, 8, "packs.sealed is committed, and nothing became of pack %x", p.Pack.GetId())
	}
	for _, e := range all(s, topics.ExtentsExported) {
		x := extentOf(e.Run, e.File, e.Extent)
		w.check(cut[x] || told.has(x), 8, "extents.exported is committed, and nothing became of extent %d of file %d of lease %s", e.Extent, e.File, x.lease)
	}
	for _, c := range all(s, topics.ChunksCut) {
		x := extentOf(c.Run, c.File, c.Extent)
		for _, place := range c.Refs.GetPlaces() {
			w.check(answered[x.at(place)] || told.has(x), 8, "chunks.cut is committed, and nobody answered for place %d of extent %d of file %d of lease %s", place, c.Extent, c.File, x.lease)
		}
	}
	for _, f := range all(s, topics.ChunksFresh) {
		x := extentOf(f.Run, f.File, f.Extent)
		for _, place := range f.Refs.GetPlaces() {
			w.check(given[x.at(place)] || told.has(x), 8, "chunks.fresh is committed, and no pack has place %d of extent %d of file %d of lease %s", place, f.Extent, f.File, x.lease)
		}
	}
	w.orders()
}

func mark(set map[spot]bool, x spot, places []uint64) {
	for _, p := range places {
		set[x.at(p)] = true
	}
}

// orders holds each order against the lease that must come of it, and each lease
// against the row that the exporter must have made of it.
func (w *world) orders() {
	leased, begun := map[string]bool{}, map[string]bool{}
	for _, l := range all(w.scribe, topics.BackupsLeased) {
		leased[string(l.Run.GetBackup())] = true
	}
	for _, o := range all(w.scribe, topics.ExportsOpen) {
		begun[string(o.Order.GetRun().GetBackup())] = true
	}
	for _, q := range all(w.scribe, topics.BackupsQueued) {
		w.check(q.Cancel || leased[string(q.Backup)], 8, "backups.queued is committed, and nothing was said of backup %s", schemas.IDText(q.Backup))
	}
	for _, l := range all(w.scribe, topics.BackupsLeased) {
		w.check(l.Verb != schemas.BackupLeased_VERB_LEASED || begun[string(l.Run.GetBackup())], 8, "backups.leased is committed, and the exporter has no row of backup %s", schemas.IDText(l.Run.GetBackup()))
	}
}
