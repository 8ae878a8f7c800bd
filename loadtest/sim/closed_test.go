//go:build synctests

package sim

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// filedPage is a page of a lease's file.
type filedPage struct {
	lease schemas.UUID
	file  uint32
	page  uint32
}

// closings holds every extent whose space was freed against the rows of its pages:
// a closed extent whose pages are no rows is lost by the next crash.
func (w *world) closings() {
	filed := map[filedPage]time.Time{} // when first
	w.scribe.mu.Lock()
	recs, closed := w.scribe.records[topics.PagesFiled.Name], w.scribe.records[topics.ExtentsClosed.Name]
	w.scribe.mu.Unlock()
	for _, rec := range recs {
		row, err := topics.PagesFiled.Decode(rec.Value)
		w.must(err)
		p := row.GetPages()
		for _, r := range p.GetRuns() {
			for i := range r.Count {
				page := filedPage{schemas.UUID(p.Run.Lease), r.File, r.First + i}
				if at, ok := filed[page]; !ok || rec.Timestamp.Before(at) {
					filed[page] = rec.Timestamp
				}
			}
		}
	}
	pages := map[spot][]uint32{}
	for _, c := range all(w.scribe, topics.ExtentsCut) {
		x := extentOf(c.Run, c.File, c.Extent)
		for _, p := range c.Pages {
			if !slices.Contains(pages[x], p.No) {
				pages[x] = append(pages[x], p.No)
			}
		}
	}
	for _, rec := range closed {
		c, err := topics.ExtentsClosed.Decode(rec.Value)
		if err != nil || poison(rec) {
			continue
		}
		for _, e := range c.Extents {
			x := extentOf(c.Run, e.File, e.Extent)
			for _, no := range pages[x] {
				at, ok := filed[filedPage{x.lease, x.file, no}]
				w.check(ok && !rec.Timestamp.Before(at), 5, "extent %d of file %d of lease %s is closed at %v, and its page %d is a row since %v", x.extent, x.file, x.lease, rec.Timestamp.UTC(), no, at.UTC())
			}
		}
	}
}

// zombies reports whether the seed has what makes a process speak, or act, after
// another took its place: then a snapshot may be made twice, and outlive its lease
// until it is hunted down.
func (w *world) zombies() bool {
	for _, kind := range []string{"freeze", "cut", "absent", "clock", "torn", "broker"} {
		if w.kinds[kind] {
			return true
		}
	}
	return false
}

// intents holds the sources to it that no order was prepared twice.
func (w *world) intents() {
	for _, s := range w.sites {
		times := map[string]int{}
		for _, st := range s.states {
			times[st.order]++
		}
		for order, n := range times {
			w.check(n == 1 || w.zombies(), 7, "source %s has made %d snapshots for %s", s.name, n, order)
		}
	}
}
