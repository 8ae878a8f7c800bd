package scheduler

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// place puts a machine of source a on a host and datastores.
func (x *table) place(machine, host string, datastores ...string) {
	x.s.machineFound("a\n"+machine, &schemas.MachineFound{Host: host, Datastores: datastores})
}

func newPlaces(t *testing.T, perHost, perDatastore, connections uint32) *table {
	x := newTable(t)
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 9, ShareBytes: 9 << 20, WindowBytes: 1 << 20,
		PerHost: perHost, PerDatastore: perDatastore, Connections: connections})
	return x
}

func TestHostAndDatastoresAreWaitedFor(t *testing.T) {
	x := newPlaces(t, 2, 1, 0)
	x.place("m1", "h1", "d1", "d1", "")
	x.place("m2", "h1", "d2")
	x.place("m3", "h1", "d3")
	x.place("m4", "h2", "d1")
	x.place("m5", "h2", "d5")
	x.want(x.order(orderOf(1, "m1")), "queued m1 0; leased m1 1")
	x.want(x.order(orderOf(2, "m2")), "queued m2 0; leased m2 1")
	x.want(x.order(orderOf(3, "m3")), "queued m3 0: position 1 of 1 at source a; a snapshot slot of host h1: 2 of 2 are in use")
	x.want(x.order(orderOf(4, "m4")), "queued m4 0: position 2 of 2 at source a; a snapshot slot of datastore d1: 1 of 1 are in use")
	x.want(x.order(orderOf(5, "m5")), "queued m5 0; leased m5 1") // goes before those that wait
	x.place("m1", "h2", "d9")                                     // moves while its snapshot is open: it frees what it took
	x.now = x.now.Add(time.Second)
	x.progress(orderOf(1, "m1")) // else its end would brake the source
	x.want(x.export(orderOf(1, "m1"), dirRemoved), "ended m1 1: the export of this lease is ended and its staging gone")
	x.want(x.export(orderOf(1, "m1"), snapshotRemoved), "leased m3 1; leased m4 1")
	x.want(x.export(orderOf(2, "m2"), snapshotRemoved), "")
	x.want(x.export(orderOf(5, "m5"), snapshotRemoved), "")
	if u := x.s.source("a").used; u.hosts["h1"] != 1 || u.hosts["h2"] != 1 || u.datastores["d1"] != 1 || u.datastores["d9"] != 0 {
		t.Errorf("in use: %+v", u)
	}
}

// A machine on two datastores must not starve between machines that need one:
// one slot of each is kept for who is first, and for nobody else.
func TestTheFirstIsNotStarved(t *testing.T) {
	x := newPlaces(t, 0, 2, 0)
	for i, d := range []string{"d1", "d1", "d2", "d2"} {
		m := fmt.Sprint("s", i)
		x.place(m, "h", d)
		x.order(orderOf(i, m))
	}
	x.place("both", "h", "d1", "d2")
	x.place("late1", "h", "d1")
	x.place("late2", "h", "d2")
	x.place("else", "h", "d3")
	x.order(orderOf(10, "both"))
	x.order(orderOf(11, "late1"))
	x.order(orderOf(12, "late2"))
	x.want(x.order(orderOf(13, "else")), "queued else 0; leased else 1")
	x.want(x.export(orderOf(0, "s0"), snapshotRemoved), "")
	x.place("late3", "h", "d1")
	x.want(x.order(orderOf(14, "late3")), `queued late3 0: position 4 of 4 at source a; a snapshot slot of datastore d1: 1 of 2 are in use, and machine "db both" was first`)
	x.want(x.export(orderOf(1, "s1"), snapshotRemoved), "leased late1 1") // there is one beside the one that is kept
	x.want(x.export(orderOf(2, "s2"), snapshotRemoved), "leased both 1")
	x.want(x.export(orderOf(3, "s3"), snapshotRemoved), "leased late2 1")
}

func TestAConnectionIsFreeWhenAllIsRead(t *testing.T) {
	x := newPlaces(t, 0, 0, 1)
	x.order(orderOf(1, "m1"))
	x.want(x.order(orderOf(2, "m2")), "queued m2 0: position 1 of 1 at source a; a connection to source a: 1 of 1 are in use")
	x.want(x.export(orderOf(1, "m1"), schemas.ExportEnded_WORD_OK), "leased m2 1")
	x.want(x.export(orderOf(1, "m1"), schemas.ExportEnded_WORD_OK), "")
	x.want(x.order(orderOf(3, "m3")), "queued m3 0: position 1 of 1 at source a; a connection to source a: 1 of 1 are in use")
	if u := x.s.source("a").used; u.snapshots != 2 || u.connections != 1 {
		t.Errorf("in use: %+v", u)
	}
}

// What a dead attempt says late frees nothing of the living.
func TestALateWordFreesNoConnection(t *testing.T) {
	x := newPlaces(t, 0, 0, 1)
	q := orderOf(1, "m1")
	x.order(q)
	dead := x.open(q).GetRun()
	x.export(q, lost)
	x.export(q, snapshotRemoved)
	x.export(q, dirRemoved)
	x.want(x.tick(5*time.Second), "leased m1 2: cut off")
	x.do(func(fx *effects) {
		x.s.exported(&schemas.ExportEnded{Run: dead, Machine: q.GetMachine(), Word: schemas.ExportEnded_WORD_OK}, x.now, fx)
	})
	if u := x.s.source("a").used; u.connections != 1 {
		t.Errorf("in use: %+v", u)
	}
}

// Goal: with machines on any host and datastores, and new orders without end, no
// limit is passed and nobody starves. Method: random orders and ends; for whom slots
// are kept must be leased when the last of those ends that were open as it became
// so, whatever else came after it; and in the end nobody waits.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHall(t)
		for n := range rapid.IntRange(20, 120).Draw(t, "orders") {
			h.order(n)
			for len(h.open) > 0 && rapid.IntRange(0, 2).Draw(t, "end") > 0 {
				h.end(rapid.IntRange(0, len(h.open)-1).Draw(t, "which"))
			}
		}
		for len(h.open) > 0 {
			h.end(0)
		}
		if t := h.s.source("a").line.ages.first().ticket; t != nil {
			h.t.Fatalf("%q waits, with nothing open", t.m.key)
		}
	})
}

// hall is where backups of one source wait.
type hall struct {
	t     *rapid.T
	s     *state
	f     *schemas.SourceFound
	now   time.Time
	open  []*machine
	heir  *machine   // for whom slots are kept
	ahead []*machine // that were open when it became so
}

func newHall(t *rapid.T) *hall {
	h := &hall{t: t, now: time.UnixMilli(1_800_000_000_000)}
	ids := uint32(0)
	h.s = newState(Default().Limits, func() (u schemas.UUID) {
		ids++
		binary.BigEndian.PutUint32(u[:], ids)
		return u
	})
	h.f = &schemas.SourceFound{SnapshotsMax: 6, ShareBytes: 6, WindowBytes: 1, PerHost: uint32(rapid.IntRange(1, 3).Draw(t, "per host")),
		PerDatastore: uint32(rapid.IntRange(1, 2).Draw(t, "per datastore"))}
	h.s.sourceFound("a", h.f)
	h.s.epochTurned(&schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED})
	return h
}

func (h *hall) order(n int) {
	id := fmt.Sprint("m", n)
	row := &schemas.MachineFound{Host: fmt.Sprint("h", rapid.IntRange(0, 1).Draw(h.t, "host"))}
	for d := range 3 {
		if rapid.Bool().Draw(h.t, "on") {
			row.Datastores = append(row.Datastores, fmt.Sprint("d", d))
		}
	}
	h.s.machineFound("a\n"+id, row)
	q := orderOf(n, id)
	q.Options.Priority = int32(rapid.IntRange(0, 1).Draw(h.t, "priority"))
	h.do(func(fx *effects) {
		if err := h.s.ordered(q, h.now, fx); err != nil {
			h.t.Fatal(err)
		}
	})
}

// end is all that the end of a backup brings, in one.
func (h *hall) end(i int) {
	m := h.open[i]
	h.open = slices.Delete(h.open, i, i+1)
	h.ahead = slices.DeleteFunc(h.ahead, func(a *machine) bool { return a == m })
	run := m.row.GetOpen().GetRun()
	h.do(func(fx *effects) {
		h.s.judged(&schemas.BackupJudged{Run: run, Machine: m.row.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{
			Status: schemas.Status_STATUS_COMPLETED}}}, h.now, fx)
		h.s.exported(&schemas.ExportEnded{Run: run, Machine: m.row.GetMachine(), Word: dirRemoved}, h.now, fx)
		h.s.exported(&schemas.ExportEnded{Run: run, Machine: m.row.GetMachine(), Word: snapshotRemoved}, h.now, fx)
	})
}

func (h *hall) do(input func(*effects)) {
	var fx effects
	input(&fx)
	for _, w := range fx.then {
		if w.GetVerb() == schemas.BackupLeased_VERB_LEASED {
			m := h.s.machine(w.GetMachine())
			h.open = append(h.open, m)
		}
	}
	src := h.s.source("a")
	hosts, datastores := map[string]int{}, map[string]int{}
	for _, m := range h.open {
		at := src.where[m.key]
		if hosts[at.host]++; hosts[at.host] > int(h.f.PerHost) {
			h.t.Fatalf("%d backups of machines on host %s, at most %d", hosts[at.host], at.host, h.f.PerHost)
		}
		for _, d := range at.datastores {
			if datastores[d]++; datastores[d] > int(h.f.PerDatastore) {
				h.t.Fatalf("%d backups of machines on datastore %s, at most %d", datastores[d], d, h.f.PerDatastore)
			}
		}
	}
	if len(h.open) > int(h.f.SnapshotsMax) {
		h.t.Fatalf("%d backups, at most %d", len(h.open), h.f.SnapshotsMax)
	}
	var heir *machine
	if t := src.line.heir; t != nil {
		heir = t.m
	}
	if heir != h.heir {
		h.heir, h.ahead = heir, slices.Clone(h.open)
	}
	if heir != nil && len(h.ahead) == 0 {
		h.t.Fatalf("%q starves: who was ahead of it has ended, and open are %d that came later", heir.key, len(h.open))
	}
}
