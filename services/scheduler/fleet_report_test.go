package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// sums are what a fleet is judged by.
type sums struct {
	sampled time.Time
	samples int
	bursts  int
	skipped int // dues of a calendar while the one before waited
	kept    int
	misses  map[string]int             // by policy and limit
	waits   map[string][]time.Duration // from order to first lease
	refused int
}

// firstLease is the first lease of a backup.
func (f *fleet) firstLease(w *schemas.BackupLeased) {
	if a := f.asked[string(w.GetRun().GetBackup())]; !a.begun {
		a.begun = true
		f.tally.waits[a.class] = append(f.tally.waits[a.class], f.now.Sub(a.at))
	}
}

// ended is the end of a backup.
func (f *fleet) ended(w *schemas.BackupLeased, status schemas.Status) {
	g := f.byKey[machineKey(w.GetMachine())]
	if status == schemas.Status_STATUS_REFUSED {
		f.tally.refused++
	}
	if status == schemas.Status_STATUS_COMPLETED {
		from := g.last
		if g.points == 0 {
			from = f.began
		}
		if gap := f.now.Sub(from); gap > g.gap {
			g.gap, g.why = gap, fmt.Sprintf("until %v: %v", f.now.Sub(f.began), g.wants)
		}
		g.points, g.last = g.points+1, f.now
	}
	want := g.wants
	if want == nil || want.backup != string(w.GetRun().GetBackup()) {
		return
	}
	g.wants = nil
	switch {
	case status != schemas.Status_STATUS_COMPLETED:
		f.tally.misses[g.plan.name+": a machine that fails"]++
	case f.now.After(want.promise):
		why := want.cause()
		if why == "" {
			f.t.Errorf("%q of policy %q was done %v too late, for no reason that has a name", g.key, g.plan.name, f.now.Sub(want.promise))
		}
		f.tally.misses[g.plan.name+": "+why]++
	default:
		f.tally.kept++
	}
	if p := g.plan; !p.calendar() {
		f.dueAt(g, f.now.Add(p.rpo/2))
	}
}

// cause is what a due waited for longest.
func (w *want) cause() string {
	return slices.MaxFunc(append(slices.Sorted(maps.Keys(w.causes)), ""), func(a, b string) int { return w.causes[a] - w.causes[b] })
}

// sample asks each machine whose policy wants it what it waits for, and holds the
// scheduler's books against those of the sources.
func (f *fleet) sample() {
	f.tally.sampled = f.now
	f.tally.samples++
	for _, g := range f.guests {
		if g.wants != nil {
			why := f.waitsFor(g)
			if why == "" {
				f.t.Fatalf("%q waits since %v for nothing, after %v", g.key, f.now.Sub(g.wants.due), f.now.Sub(f.began))
			}
			g.wants.causes[why]++
		}
	}
	if f.s == nil {
		return
	}
	for _, at := range f.sites {
		if u := f.s.source(at.name).used; u.snapshots < uint64(at.snapshots) || u.dirs < uint64(at.dirs) || u.connections < uint64(at.connections) {
			f.t.Fatalf("%s has %d snapshots, %d folders and %d connections, and the scheduler counts %+v", at.name, at.snapshots, at.dirs, at.connections, u)
		}
	}
	if f.tally.samples%max(1, len(f.guests)/500) == 0 { // it walks over all machines
		if why := f.s.unsound(f.now); why != "" {
			f.t.Fatal(why)
		}
	}
}

// waitsFor names what a machine waits for; empty: nothing.
func (f *fleet) waitsFor(g *guest) string {
	if g.wants.backup == "" {
		return "blackout"
	}
	if f.s == nil {
		return "scheduler off"
	}
	m := f.s.machines[g.key]
	if f.now.Sub(f.asked[g.wants.backup].at) <= 2*latency || len(f.inbox) > 0 {
		return "on its way"
	}
	o := m.row.GetOpen()
	switch {
	case o == nil:
		return f.limitOf(m)
	case string(o.GetOrder().GetBackup()) != g.wants.backup:
		return "another backup of the machine"
	case !f.targets.Quorum:
		return "targets down"
	case o.GetState() == schemas.OpenRun_STATE_BACKOFF && m.ticket != nil:
		return f.limitOf(m)
	case g.lease == nil || o.GetState() == schemas.OpenRun_STATE_LEASED && string(g.lease.word.GetRun().GetLease()) != string(o.GetRun().GetLease()):
		return "on its way"
	case o.GetState() == schemas.OpenRun_STATE_LEASED && !g.lease.dead && o.GetRun().GetAttempt() == 1:
		if g.site.slow > 1 {
			return "a slow vCenter"
		}
		return "its own length"
	}
	return "attempts that failed"
}

// limitOf is the limit that a machine in line waits for, by figures and not by what
// is told.
func (f *fleet) limitOf(m *machine) string {
	src, t := m.source, m.ticket
	if t == nil {
		return ""
	}
	u, limit := src.used, src.found
	switch {
	case m.row.GetOpen() == nil && string(t.order.GetBackup()) != f.byKey[m.key].wants.backup:
		return "another order of the machine"
	case u.snapshots >= uint64(limit.SnapshotsMax):
		return "snapshot slots"
	case u.dirs >= limit.ShareBytes/limit.WindowBytes:
		return "windows of the staging share"
	case limit.Connections != 0 && u.connections >= uint64(limit.Connections):
		return "connections"
	case src.brake.at != 0 && u.snapshots >= src.brake.at && !f.targets.Quorum:
		return "targets down"
	case src.brake.at != 0 && u.snapshots >= src.brake.at:
		return "brake"
	case t.bench.flow.policy == "bounded" && src.running["bounded"] >= 3:
		return "limit of its policy"
	}
	at, kept := src.where[m.key], where{}
	if h := src.line.heir; h != nil && h != t {
		kept = h.bench.place.where
	}
	for _, s := range at.spots() {
		n, most := u.hosts[s.which], limit.PerHost
		if s.what == datastore {
			n, most = u.datastores[s.which], limit.PerDatastore
		}
		if n >= uint64(most) {
			return "slots of its " + s.what
		}
		if n+1 >= uint64(most) && slices.Contains(kept.spots(), s) {
			return "a slot kept for another"
		}
	}
	return ""
}

// rest holds that all came to one end and nothing is left, and that nobody starved.
func (f *fleet) rest() {
	for id, a := range f.asked {
		if f.verdicts[id] == 0 {
			f.t.Errorf("a backup of %q, ordered after %v, has no verdict", a.class, a.at.Sub(f.began))
			break
		}
	}
	for _, m := range f.s.sorted(everyone) {
		if m.row.GetOpen() != nil || len(m.row.GetPending()) > 0 {
			f.t.Errorf("%s is not at rest: %v", m.key, m.row)
			break
		}
	}
	if n := f.open(); n > 0 {
		f.t.Errorf("%d snapshots and folders are left", n)
	}
	for _, g := range f.guests {
		// A night of the model's failures, and the length of the one after it.
		if most := 60 * time.Hour; !g.bad && g.gap > most || g.points == 0 && !g.bad {
			f.t.Errorf("%q of policy %q has %d points, and was without one for %v, %s", g.key, g.plan.name, g.points, g.gap, g.why)
			break
		}
	}
	if f.tally.refused > 0 {
		f.t.Errorf("%d orders were refused", f.tally.refused)
	}
}

func (f *fleet) report(took time.Duration) {
	var b strings.Builder
	missed := 0
	for _, n := range f.tally.misses {
		missed += n
	}
	fmt.Fprintf(&b, "%d machines, %d sources, %d days in %v: %d backups, %d deaths of the scheduler, %d bursts\n", len(f.guests), len(f.sites), f.days, took.Round(time.Second), len(f.asked), f.crashes, f.tally.bursts)
	fmt.Fprintf(&b, "promises kept %d, missed %d, and %d dues came while the one before waited\n", f.tally.kept, missed, f.tally.skipped)
	for _, why := range slices.Sorted(maps.Keys(f.tally.misses)) {
		fmt.Fprintf(&b, "  %6d  %s\n", f.tally.misses[why], why)
	}
	fmt.Fprintf(&b, "from order to lease, p50 p99 max:\n")
	for _, class := range slices.Sorted(maps.Keys(f.tally.waits)) {
		all := slices.Sorted(slices.Values(f.tally.waits[class]))
		at := func(q int) time.Duration { return all[(len(all)-1)*q/100].Round(time.Second) }
		fmt.Fprintf(&b, "  %-12s %10v %10v %10v  of %d\n", class, at(50), at(99), at(100), len(all))
	}
	for _, at := range f.sites {
		fmt.Fprintf(&b, "%s peaks: snapshots %d of %d, windows %d of %d, connections %d of %d, a host %d of %d, a datastore %d of %d\n", at.name, at.peak.snapshots, at.limit.SnapshotsMax,
			at.peak.dirs, at.limit.ShareBytes/at.limit.WindowBytes, at.peak.connections, at.limit.Connections, at.peak.host, at.limit.PerHost, at.peak.datastore, at.limit.PerDatastore)
	}
	f.t.Log(b.String())
}
