//go:build synctests

package sim

import (
	"context"
	"math/bits"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// answer is what a record that counts says of one place.
type answer struct {
	lease schemas.UUID
	file  uint32
	place uint64
}

// pages holds every place that a point got from its own lease against the answers
// that count: landed, or known and judged in the lease's epoch or a later one, of
// that lease.
func (w *world) pages(points map[string]*vault.Point) {
	cuts, said := map[answer]bool{}, map[answer]map[vault.PackID]bool{}
	say := func(r *schemas.Run, file uint32, p *schemas.Places) {
		for i, place := range p.GetPlaces() {
			a := answer{schemas.UUID(r.Lease), file, place}
			if said[a] == nil {
				said[a] = map[vault.PackID]bool{}
			}
			id, _ := vault.PackIDFromProto(p.Packs[p.Pack[i]])
			said[a][id] = true
		}
	}
	for _, c := range all(w.scribe, topics.ExtentsCut) {
		for _, p := range c.Pages {
			for d := p.Data; d != 0; d &= d - 1 {
				cuts[answer{schemas.UUID(c.Run.Lease), c.File, uint64(p.No)*cut.PagePlaces + uint64(bits.TrailingZeros64(d))}] = true
			}
		}
	}
	for _, l := range all(w.scribe, topics.ChunksLanded) {
		say(l.Run, l.File, l.Places)
	}
	for _, k := range all(w.scribe, topics.ChunksKnown) {
		if k.Judged >= k.Run.GetEpoch() {
			say(k.Run, k.File, k.Places)
		}
	}
	r := w.coldReader()
	for path, p := range points {
		lease := schemas.UUID(p.Run.Lease)
		for _, f := range p.Files {
			for run := range vault.Runs(p, f) {
				if run.Map.IsZero() {
					continue
				}
				n := w.shards(run.Map, true)
				w.check(n >= w.k+1, 2, "point %s: map pack %s has %d shards, %d are needed", path, run.Map, n, w.k+1)
				slots := make([]uint32, run.Count)
				for i := range slots {
					slots[i] = run.Slot + uint32(i)
				}
				got, err := r.Pages(context.Background(), run.Map, slots)
				w.check(err == nil, 4, "point %s: %v", path, err)
				for _, page := range got {
					w.page(path, answer{lease, f.No, 0}, page, cuts, said)
				}
			}
		}
	}
}

func (w *world) page(path string, a answer, page vault.Page, cuts map[answer]bool, said map[answer]map[vault.PackID]bool) {
	for i, place := range page.Places {
		if place.Kind != vault.PlaceChunk {
			continue
		}
		n := w.shards(place.Pack, false)
		w.check(n >= w.k+1, 2, "point %s: pack %s has %d shards, %d are needed", path, place.Pack, n, w.k+1)
		a.place = uint64(page.No)*cut.PagePlaces + uint64(i)
		w.check(!cuts[a] || said[a][place.Pack], 6, "point %s: file %d, place %d lies in pack %s, which no answer that counts has named", path, a.file, a.place, place.Pack)
	}
}
