//go:build synctests

package sim

import (
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// row names a row of the ledger: the record that it came of, and its place.
type row struct {
	part  uint16
	at    uint64
	place uint64
}

// counts holds the ledger against places.filed, row by row, and against the points,
// place by place.
func (w *world) counts(points map[string]*vault.Point) {
	want, got := map[row]bool{}, map[row]int{}
	w.scribe.mu.Lock()
	for _, rec := range w.scribe.records[topics.PlacesFiled.Name] {
		m, err := topics.PlacesFiled.Decode(rec.Value)
		if err != nil {
			continue
		}
		for _, p := range m.GetCut().GetPlaces() {
			want[row{uint16(rec.Partition), uint64(rec.Offset), p}] = true
		}
		for _, r := range m.Runs {
			want[row{uint16(rec.Partition), uint64(rec.Offset), r.First}] = true
		}
	}
	w.scribe.mu.Unlock()
	places := map[answer]bool{}
	w.ledger.Each(ledger.Places{}.Table(), func(rows ledger.Rows, i int) {
		p := rows.(ledger.Places)[i]
		got[row{p.Part, p.Offset, p.Place}]++
		for n := range p.Places {
			places[answer{p.Attempt.Lease, p.FileNo, p.Place + n}] = true
		}
	})
	for r, n := range got {
		w.check(n == 1, 13, "the ledger has place %d of places.filed %d@%d %d times", r.place, r.part, r.at, n)
		w.check(want[r], 13, "the ledger has place %d of places.filed %d@%d, which is not there", r.place, r.part, r.at)
	}
	for r := range want {
		w.check(got[r] > 0, 13, "the ledger lacks place %d of places.filed %d@%d", r.place, r.part, r.at)
	}
	for path, p := range points {
		if !w.isCompleted(path) {
			continue
		}
		lease := schemas.UUID(p.Run.Lease)
		for _, f := range p.Files {
			n := (f.SizeBytes + grid - 1) / grid
			for place := range n {
				w.check(places[answer{lease, f.No, place}], 13, "point %s: the ledger lacks place %d of file %d", path, place, f.No)
			}
			w.check(!places[answer{lease, f.No, n + 63}], 13, "point %s: the ledger has places behind the end of file %d", path, f.No)
		}
	}
}

func (w *world) isCompleted(point string) bool {
	w.scribe.mu.Lock()
	defer w.scribe.mu.Unlock()
	for _, all := range w.scribe.ends {
		if all[0].Point == point {
			return true
		}
	}
	return false
}
