package scheduler

import (
	"math"
	"sync/atomic"
	"time"
)

// Gauge registers a number that is asked for when somebody looks, told apart by
// labels; one that is registered again has the new value.
type Gauge func(name, help string, labels map[string]string, value func() float64)

// dials show the limits of a room's sources, and what is used of each: set by each
// beat, read by whoever looks.
type dials struct {
	gauge Gauge
	all   map[string]*dial // by name and labels
}

type dial struct{ bits atomic.Uint64 }

func (d *dial) set(x float64) { d.bits.Store(math.Float64bits(x)) }
func (d *dial) read() float64 { return math.Float64frombits(d.bits.Load()) }

func newDials(g Gauge) *dials { return &dials{gauge: g, all: map[string]*dial{}} }

// set turns the dial of a source, and of what of it: "" if there is only one.
func (d *dials) set(name, help, source, label, of string, x float64) {
	key := name + "\n" + source + "\n" + of
	if d.all[key] == nil {
		labels := map[string]string{"source": source}
		if label != "" {
			labels[label] = of
		}
		d.all[key] = &dial{}
		d.gauge(name, help, labels, d.all[key].read)
	}
	d.all[key].set(x)
}

// close sets all to zero: another process may have these sources now.
func (d *dials) close() {
	for _, one := range d.all {
		one.set(0)
	}
}

// show sets the dials of every source.
func (d *dials) show(s *state, now time.Time) {
	if d.gauge == nil {
		return
	}
	for _, src := range s.sourcesSorted() {
		d.showSource(src, now)
	}
}

func (d *dials) showSource(src *source, now time.Time) {
	oldest := 0.0
	if t := src.line.ages.first().ticket; t != nil {
		oldest = max(0, now.Sub(time.UnixMilli(t.order.GetSinceMs())).Seconds())
	}
	d.set("holdfast_scheduler_waiting_machines", "Machines that could be leased and wait for a slot.", src.name, "", "", float64(len(src.line.ages.items)))
	d.set("holdfast_scheduler_waiting_seconds", "How long the machine has waited that waits longest.", src.name, "", "", oldest)
	d.set("holdfast_scheduler_brake_snapshots", "Snapshots that may be open while attempts don't get on; 0: all that the source's limit allows.", src.name, "", "", float64(src.brake.at))
	snapshots, windows := src.limit()
	for _, l := range []struct {
		of        string
		used, max uint64
	}{
		{"snapshots", src.used.snapshots, snapshots}, {"windows", src.used.dirs, windows},
		{"connections", src.used.connections, uint64(src.found.GetConnections())},
		{"host", fullest(src.used.hosts), uint64(src.found.GetPerHost())}, {"datastore", fullest(src.used.datastores), uint64(src.found.GetPerDatastore())},
	} {
		d.set("holdfast_scheduler_slots", "Slots of a source in use; of host and datastore: of the fullest.", src.name, "of", l.of, float64(l.used))
		d.set("holdfast_scheduler_slots_max", "Slots of a source, of each host and of each datastore; 0: no limit.", src.name, "of", l.of, float64(l.max))
	}
	for policy, most := range src.house.atOnce {
		d.set("holdfast_scheduler_policy_open", "Backups under way of a policy that bounds them.", src.name, "policy", policy, float64(src.running[policy]))
		d.set("holdfast_scheduler_policy_max", "Backups of a policy that may be under way at once at a source.", src.name, "policy", policy, float64(most))
	}
}

func fullest(of map[string]uint64) (most uint64) {
	for _, n := range of {
		most = max(most, n)
	}
	return most
}
