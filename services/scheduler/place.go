package scheduler

import (
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// where is the host that a machine is on, and its datastores, each once.
type where struct {
	host       string
	datastores []string
	key        string // of both
}

func whereOf(m *schemas.MachineFound) where {
	ds := slices.DeleteFunc(slices.Clone(m.GetDatastores()), func(d string) bool { return d == "" })
	slices.Sort(ds)
	ds = slices.Compact(ds)
	return where{m.GetHost(), ds, m.GetHost() + "\n" + strings.Join(ds, "\n")}
}

// place is where machines wait that need the same slots: what one of them lacks,
// all do.
type place struct {
	where
	benches []*bench // that are not empty
	parked  *spot    // what it lacks; nil: nothing, as far as was looked
}

// spot is a host or a datastore.
type spot struct{ what, which string }

const (
	host      = "host"
	datastore = "datastore"
)

// spots are what a machine needs a slot of.
func (w where) spots() (all []spot) {
	if w.host != "" {
		all = append(all, spot{host, w.host})
	}
	for _, d := range w.datastores {
		all = append(all, spot{datastore, d})
	}
	return all
}

func (l *line) placeOf(at where) *place {
	p := l.places[at.key]
	if p == nil {
		p = &place{where: at}
		l.places[at.key] = p
	}
	return p
}

// bench is the one of a flow here; they are few, as flows are.
func (p *place) bench(f *flow) *bench {
	for _, b := range p.benches {
		if b.flow == f {
			return b
		}
	}
	b := &bench{flow: f, place: p, sits: -1}
	p.benches = append(p.benches, b)
	return b
}

// unbench forgets a bench that is empty, and a place that has no other.
func (l *line) unbench(b *bench) {
	p := b.place
	p.benches = slices.DeleteFunc(p.benches, func(o *bench) bool { return o == b })
	if len(p.benches) > 0 {
		return
	}
	delete(l.places, p.key)
	if p.parked != nil {
		l.parked[*p.parked] = slices.DeleteFunc(l.parked[*p.parked], func(o *place) bool { return o == p })
	}
}

// park takes a place out of the choice until a slot of a spot is freed.
func (l *line) park(p *place, for_ spot) {
	p.parked = &for_
	l.parked[for_] = append(l.parked[for_], p)
	for _, b := range p.benches {
		b.flow.heads.drop(b)
	}
}

// wake lets those choose again who wait for a spot. There are at most as many as
// there are hosts on a datastore, or sets of datastores on a host.
func (l *line) wake(s spot) {
	for _, p := range l.parked[s] {
		p.parked = nil
		for _, b := range p.benches {
			b.flow.heads.put(b)
		}
	}
	delete(l.parked, s)
}

// wakeAll is for when limits change.
func (l *line) wakeAll() {
	for s := range l.parked {
		l.wake(s)
	}
}

// disown ends that slots are kept for the heir.
func (l *line) disown() {
	h := l.heir
	l.heir = nil
	for _, s := range h.bench.place.spots() {
		l.wake(s)
	}
}
