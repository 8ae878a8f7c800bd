package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// The table's clock begins on Friday, 15 January 2027, at 8:00 UTC.

// nightly is a policy of all machines that are tagged gold, at 2:00, all at once.
func nightly(change ...func(*schemas.PolicyDeclared)) schemas.PolicyDeclared {
	zero := uint32(0)
	d := schemas.PolicyDeclared{Name: "gold", Selectors: []schemas.Selector{{Tag: "tier/gold"}}, SpreadMinutes: &zero,
		Calendar: []schemas.PolicyTime{{Cron: "0 2 * * *"}}}
	for _, f := range change {
		f(&d)
	}
	return d
}

// hourly wants a point of each hour.
func hourly(d *schemas.PolicyDeclared) { d.Calendar, d.RPOMinutes = nil, 60 }

func (x *table) find(id string, tags ...string) {
	m := &schemas.Machine{Source: "a", Id: id, Name: "db " + id}
	x.s.machineFound(machineKey(m), &schemas.MachineFound{Machine: m, Tags: tags})
}

// to ticks at a time of the day, of this one or the next.
func (x *table) to(clock string) string {
	x.t.Helper()
	at, err := time.Parse("15:04:05", clock)
	if err != nil {
		x.t.Fatal(err)
	}
	day := x.now.UTC().Truncate(24 * time.Hour)
	next := day.Add(at.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
	if !next.After(x.now) {
		next = next.Add(24 * time.Hour)
	}
	return x.tick(next.Sub(x.now))
}

// pend is the order of a machine that waits first, or runs.
func (x *table) pend(id string) *schemas.BackupQueued {
	row := x.s.machine(&schemas.Machine{Source: "a", Id: id}).row
	if len(row.GetPending()) > 0 {
		return row.GetPending()[0]
	}
	return row.GetOpen().GetOrder()
}

// done has the backup of a machine end well, with a point of now.
func (x *table) done(id string) string {
	q := x.pend(id)
	for _, w := range []schemas.ExportEnded_Word{snapshotRemoved, dirRemoved} {
		if x.open(q).GetOrder() == nil {
			x.t.Fatalf("%s has no lease", id)
		}
		if w == dirRemoved {
			x.do(func(fx *effects) {
				x.s.judged(&schemas.BackupJudged{Run: x.open(q).GetRun(), Machine: q.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{
					Status: schemas.Status_STATUS_COMPLETED, SnapshotMs: x.now.UnixMilli(), Point: &schemas.Point{Path: "p"}}}}, x.now, fx)
			})
		}
		x.export(q, w)
	}
	return ""
}

// again is a scheduler that begins with what the rows say.
func (x *table) again(ds ...schemas.PolicyDeclared) {
	y := newTable(x.t)
	y.s.sourceFound("a", x.s.source("a").found)
	y.s.epoch = x.s.epoch
	for key, f := range x.s.plans.found {
		y.s.machineFound(key, f)
	}
	for _, d := range ds {
		y.s.policyTaken(d)
	}
	for _, m := range x.s.sorted(everyone) {
		y.s.recalled(m.row)
	}
	y.s.begin(x.now, &effects{})
	x.s = y.s
}

const turn = `its turn: it is due by policy "gold"`

func TestADueIsOrderedOnce(t *testing.T) {
	x := newTable(t)
	x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { d.Tenant, d.Priority, d.Quiesce = "shop", 7, "require" }))
	x.find("m1", "tier/gold")
	x.find("m2", "tier/silver")
	x.want(x.tick(time.Second), "")
	if len(x.fx.rows) != 1 {
		t.Error("when it is due first belongs into the row")
	}
	x.want(x.to("01:59:59"), "")
	x.want(x.to("02:00:00"), "queued m1 0: "+turn+"; leased m1 1")
	q := x.pend("m1")
	due := x.now.UnixMilli()
	want := &schemas.BackupQueued{Job: &schemas.Job{Id: schemas.PolicyJobID("gold", due).Bytes(), Of: 1}, Backup: schemas.DueID("gold", "a", "m1", due).Bytes(),
		Tenant: "shop", Machine: &schemas.Machine{Source: "a", Id: "m1", Name: "db m1"}, SinceMs: due, Policy: "gold", DueMs: due, RpoMs: 86_400_000,
		Options: &schemas.Options{Quiesce: schemas.Options_QUIESCE_REQUIRE, Priority: 7, NotAfterMs: due + 86_400_000}}
	if !proto.Equal(q, want) {
		t.Errorf("got  %v\nwant %v", q, want)
	}
	if w := x.fx.then[1]; w.GetPolicy() != "gold" {
		t.Errorf("the word does not say the policy: %v", w)
	}
	x.again(nightly())
	x.want(x.tick(time.Second), "")
	x.done("m1")
	x.want(x.to("01:59:59"), "")
	x.want(x.to("02:00:00"), "queued m1 0: "+turn+"; leased m1 1")
}

// One machine after another is due at its own moment; what was missed is caught up
// with once, spread too; and a scheduler that begins again does not begin the spread anew.
func TestMissedRunsAreCaughtUpOnce(t *testing.T) {
	x := newTable(t)
	x.s.epoch = 0 // no leases: what is looked at is when orders come
	d := nightly(func(d *schemas.PolicyDeclared) { d.SpreadMinutes = nil })
	x.s.policyTaken(d)
	for i := range 100 {
		x.find(fmt.Sprint("m", i), "tier/gold")
	}
	x.tick(time.Second)
	count := func(got string) int { return strings.Count(got, turn) }
	x.now = x.now.Add(5 * 24 * time.Hour)
	x.again(d)
	if n := count(x.tick(time.Second)); n > 5 {
		t.Errorf("%d at once after five days off", n)
	}
	before := 0
	for range 149 {
		before += count(x.tick(time.Second))
	}
	if n := x.s.plans.counts[dueMissed]; n != 400 {
		t.Errorf("%d dues of 100 machines were passed over in five days", n)
	}
	x.again(d)
	all := before
	for range 151 {
		all += count(x.tick(time.Second))
	}
	if before < 25 || all < 95 || all > 100 {
		t.Errorf("%d in half of the spread, %d in all", before, all)
	}
	if q := x.pend("m7"); schemas.MilliTime(q.GetDueMs()).Format("15:04:05 02") != "02:00:00 20" || q.GetJob().GetOf() < 40 {
		t.Errorf("caught up with %v", q)
	}
}

func TestTheOneBeforeIsNotOver(t *testing.T) {
	x := newTable(t)
	x.s.policyTaken(nightly())
	x.find("m1", "tier/gold")
	x.tick(time.Second)
	x.to("02:00:00")
	first := x.pend("m1")
	x.s.limits.Silence = 48 * time.Hour
	x.s.progressed(x.s.machine(first.GetMachine()), x.now)
	x.want(x.to("02:00:00"), "refused m1 0 (refused): skipped: it was due at 2027-01-17T02:00:00Z by policy \"gold\", and backup "+
		schemas.IDText(first.GetBackup())+" of the same policy was not over")
	x.done("m1")
	x.want(x.to("02:00:00"), "queued m1 0: "+turn+"; leased m1 1")
	// An order of a person is not of the policy: it waits behind it.
	x.done("m1")
	x.order(orderOf(1, "m1"))
	x.s.progressed(x.s.machine(first.GetMachine()), x.now)
	x.want(x.to("02:00:00"), "queued m1 0: "+turn)
}

func TestWhatAPolicyMeansChanges(t *testing.T) {
	x := newTable(t)
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 1, ShareBytes: 4 << 20, WindowBytes: 1 << 20})
	x.s.policyTaken(nightly())
	for _, id := range []string{"m1", "m2", "m3", "m4"} {
		x.find(id, "tier/gold")
	}
	x.tick(time.Second)
	if got := x.to("02:00:00"); strings.Count(got, turn) != 4 || strings.Count(got, "leased") != 1 {
		t.Fatal(got)
	}
	x.find("m1", "tier/silver") // it runs: it goes on
	x.find("m2", "tier/silver")
	x.want(x.tick(time.Second), `withdrawn m2 0 (cancelled): policy "gold" does not mean the machine any more`)
	x.s.machineFound("a\nm3", &schemas.MachineFound{Gone: true})
	x.want(x.tick(time.Second), `withdrawn m3 0 (cancelled): the machine is gone from its source`)
	x.find("m5", "tier/gold")
	x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { d.Priority = 3 }))
	x.want(x.tick(time.Second), "")
	if q := x.pend("m4"); q.GetOptions().GetPriority() != 3 {
		t.Errorf("what waits is done as the policy says now: %v", q)
	}
	x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { d.Calendar[0].Cron = "0 3 * * *" }))
	x.want(x.tick(time.Second), `withdrawn m4 0 (cancelled): policy "gold" was changed: it has other times`)
	x.done("m1")
	x.want(x.to("02:59:59"), "")
	if got := x.to("03:00:00"); strings.Count(got, turn) != 2 || !strings.Contains(got, "queued m5") {
		t.Errorf("a machine that is new has its turn: %s", got)
	}
	x.again() // the policy was dropped while nobody was there
	x.s.policyTaken(schemas.PolicyDeclared{Name: "gold", Dropped: true})
	x.want(x.tick(time.Second), `withdrawn m5 0 (cancelled): policy "gold" was dropped`)
	x.done("m4")
	x.want(x.tick(48*time.Hour), "")
	if n := len(x.s.machine(&schemas.Machine{Source: "a", Id: "m4"}).row.GetPolicies()); n != 0 {
		t.Errorf("%d policies are left in a row", n)
	}
}

// Nothing is begun in a blackout, be it due or waiting already; what runs goes on.
func TestABlackoutHoldsStarts(t *testing.T) {
	x := newTable(t)
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 1, ShareBytes: 4 << 20, WindowBytes: 1 << 20})
	d := nightly(func(d *schemas.PolicyDeclared) {
		d.Calendar = append(d.Calendar, schemas.PolicyTime{Cron: "30 3 * * *"})
		d.Blackout = []schemas.PolicyBlackout{{From: "02:10", To: "04:00"}}
	})
	x.s.policyTaken(d)
	x.find("m1", "tier/gold")
	x.find("m2", "tier/gold")
	x.tick(time.Second)
	x.to("02:00:00")
	id := x.s.machines["a\nm2"].row.GetPending()[0].GetBackup()
	x.want(x.to("02:09:58"), "")
	x.want(x.to("02:09:59"), "")
	if len(x.s.machines["a\nm2"].row.GetPending()) != 0 {
		t.Error("an order waits that would be begun in the blackout")
	}
	x.done("m1")
	x.want(x.to("02:30:00"), "")
	x.again(d)
	x.want(x.tick(time.Second), "")
	x.want(x.to("03:59:59"), "")
	got := x.to("04:00:00")
	if strings.Count(got, turn) != 2 || strings.Count(got, "leased") != 1 {
		t.Errorf("after it: %s", got)
	}
	for _, w := range x.fx.then {
		if string(w.GetRun().GetBackup()) == string(id) {
			t.Error("of two that were held, the newest is done")
		}
	}
	if x.s.plans.counts[dueMissed] != 1 { // that of m2
		t.Errorf("counts: %v", x.s.plans.counts)
	}
}

// It may have begun while nobody was there to take orders back.
func TestABlackoutIsFoundAtTheStart(t *testing.T) {
	x := newTable(t)
	x.s.epoch = 0
	d := nightly(func(d *schemas.PolicyDeclared) { d.Blackout = []schemas.PolicyBlackout{{From: "02:10", To: "04:00"}} })
	x.s.policyTaken(d)
	x.find("m1", "tier/gold")
	x.tick(time.Second)
	x.want(x.to("02:00:00"), "queued m1 0: "+turn)
	x.now = x.now.Add(20 * time.Minute)
	x.again(d)
	x.s.epoch = 1
	x.want(x.tick(time.Second), "")
	x.want(x.to("04:00:00"), "queued m1 0: "+turn+"; leased m1 1")
}

func TestAnRPOFollowsPoints(t *testing.T) {
	x := newTable(t)
	x.s.policyTaken(nightly(hourly))
	x.find("m1", "tier/gold")
	x.want(x.tick(time.Second), "queued m1 0: "+turn+"; leased m1 1")
	if q := x.pend("m1"); q.GetRpoMs() != 3_600_000 || q.GetOptions().GetNotAfterMs() != 0 {
		t.Errorf("got %v", q)
	}
	x.done("m1")
	x.want(x.tick(45*time.Minute-time.Second), "")
	x.want(x.tick(time.Second), "queued m1 0: "+turn+"; leased m1 1")
	if q := x.pend("m1"); q.GetDueMs() != x.now.Add(15*time.Minute).UnixMilli() {
		t.Errorf("due %s", schemas.MilliTime(q.GetDueMs()))
	}
	x.done("m1")
	x.tick(30 * time.Minute)
	x.order(orderOf(1, "m1")) // what a person wants makes a point, too
	x.done("m1")
	x.want(x.tick(45*time.Minute-time.Second), "")
	x.again(nightly(hourly))
	x.want(x.tick(time.Second), "queued m1 0: "+turn+"; leased m1 1")
	// What has fewer disks is no point for it.
	x.done("m1")
	bare := orderOf(2, "m1")
	bare.Options.ExcludedDisks = []string{"data*"}
	x.tick(30 * time.Minute)
	x.order(bare)
	x.done("m1")
	x.want(x.tick(15*time.Minute), "queued m1 0: "+turn+"; leased m1 1")
}

// A backup that fails is tried again, each time on an occasion of its own, and never
// in a storm; one that a person cancels, when the next would have been due.
func TestAnRPOThatFails(t *testing.T) {
	x := newTable(t)
	x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { hourly(d); d.RPOMinutes = 30 }))
	x.find("m1", "tier/gold")
	x.tick(time.Second)
	ids := map[string]bool{}
	fail := func(s schemas.Status) {
		q := x.pend("m1")
		if ids[string(q.GetBackup())] {
			t.Fatal("a backup that failed has no second life")
		}
		ids[string(q.GetBackup())] = true
		x.export(q, snapshotRemoved)
		x.judge(q, s)
		x.do(func(fx *effects) {
			x.s.exported(&schemas.ExportEnded{Run: x.s.machine(q.GetMachine()).row.GetOpen().GetRun(), Machine: q.GetMachine(), Word: dirRemoved}, x.now, fx)
		})
	}
	x.done("m1")
	x.want(x.tick(22*time.Minute+30*time.Second), "queued m1 0: "+turn+"; leased m1 1") // early, and so is its second try
	for _, wait := range []time.Duration{5, 10, 20, 30, 30} {
		fail(schemas.Status_STATUS_FAILED)
		x.want(x.tick(wait*time.Minute-time.Second), "")
		x.want(x.tick(time.Second), "queued m1 0: "+turn+"; leased m1 1")
	}
	fail(schemas.Status_STATUS_CANCELLED)
	x.want(x.tick(30*time.Minute-time.Second), "")
	x.want(x.tick(time.Second), "queued m1 0: "+turn+"; leased m1 1")
	// Cancelled while it waits: the machine is not asked again at once.
	x.s.epoch = 0
	fail(schemas.Status_STATUS_FAILED)
	x.want(x.tick(30*time.Minute), "queued m1 0: "+turn)
	job := x.pend("m1").GetJob()
	x.want(x.order(&schemas.BackupQueued{Job: job, Cancel: true}), "withdrawn m1 0 (cancelled): cancelled, as asked")
	x.want(x.tick(2*time.Minute), "")
	x.want(x.tick(27*time.Minute), "")
	x.want(x.tick(3*time.Minute), "queued m1 0: "+turn)
}

func TestSoManyAtOnce(t *testing.T) {
	x := newTable(t)
	x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { d.Limits.AtOnce = 2 }))
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 9, ShareBytes: 1 << 40, WindowBytes: 1 << 20})
	for i := range 5 {
		x.find(fmt.Sprint("m", i), "tier/gold")
	}
	x.tick(time.Second)
	leased := func(got string, want ...string) {
		t.Helper()
		if now := x.leased(got); !slices.Equal(now, want) {
			t.Errorf("leased %v, want %v: %s", now, want, got)
		}
	}
	got := x.to("02:00:00")
	leased(got, "m0", "m1")
	if n := strings.Count(got, turn); n != 5 {
		t.Errorf("%d of 5 are in the queue: %s", n, got)
	}
	if !strings.Contains(got, `a turn of policy "gold": 2 of 2 of its backups run at source a`) {
		t.Errorf("nobody says why the others wait: %s", got)
	}
	x.done("m0")
	for id, want := range map[string]bool{"m0": false, "m1": true, "m2": true, "m3": false} {
		if open := x.s.machines["a\n"+id].row.GetOpen() != nil; open != want {
			t.Errorf("%s is backed up: %v, want %v", id, open, want)
		}
	}
	x.s.policyTaken(nightly())
	leased(x.tick(time.Second), "m3", "m4")
}

// What has waited for its due too long, and what has no room, is told, not left out.
func TestADueThatComesToNothing(t *testing.T) {
	x := newTable(t)
	d := nightly(func(d *schemas.PolicyDeclared) { d.NotAfterMinutes = 60 })
	x.s.policyTaken(d)
	x.find("m1", "tier/gold")
	x.tick(time.Second)
	x.now = x.now.Add(21 * time.Hour)
	x.again(d)
	x.want(x.tick(time.Second), `refused m1 0 (refused): skipped: it was due at 2027-01-16T02:00:00Z by policy "gold"; `+
		`expired: backup of "db m1" was not to begin after 2027-01-16T03:00:00Z`)
	x.s.epoch = 0
	for n := range pendingMax {
		x.order(orderOf(n, "m1"))
	}
	x.want(x.to("02:00:00"), `refused m1 0 (refused): skipped: it was due at 2027-01-17T02:00:00Z by policy "gold"; `+
		`too many pending: 16 orders of machine "db m1" wait already`)
}

func TestTooManyPolicies(t *testing.T) {
	x := newTable(t)
	for i := range 18 {
		x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) { d.Name = fmt.Sprintf("p%02d", i) }))
	}
	x.find("m1", "tier/gold")
	x.tick(time.Second)
	if n := len(x.s.machines["a\nm1"].row.GetPolicies()); n != 16 || len(x.s.plans.notes) != 1 ||
		x.s.plans.notes[0] != `machine "db m1" is meant by 18 policies: the first 16 by name count, and "p16" is the first that does not` {
		t.Errorf("%d policies, %v", n, x.s.plans.notes)
	}
}

// Matching and dues cost what changes, not what is there.
func TestAQuietBeatLooksAtNobody(t *testing.T) {
	x := newTable(t)
	for i := range 20 {
		x.s.policyTaken(nightly(func(d *schemas.PolicyDeclared) {
			d.Name, d.Selectors = fmt.Sprintf("p%02d", i), []schemas.Selector{{Name: fmt.Sprintf("*%d", i)}}
		}))
	}
	for i := range 20_000 {
		x.find(fmt.Sprint("m", i))
	}
	rows := 0
	for beats := 0; rows < 20_000; beats++ {
		var fx effects
		x.s.duties(x.now, &fx)
		if rows += len(fx.rows); len(fx.rows) > rowsMax || beats > 25 {
			t.Fatalf("%d rows in beat %d, %d in all", len(fx.rows), beats, rows)
		}
	}
	var fx effects
	x.s.duties(x.now, &fx)
	if n := testing.AllocsPerRun(10, func() { x.s.duties(x.now, &fx) }); n > 200 || len(fx.rows) > 0 {
		t.Errorf("a quiet beat makes %v allocations, and writes %d rows", n, len(fx.rows))
	}
}
