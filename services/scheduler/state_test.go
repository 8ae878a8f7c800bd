package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// table is a state with a clock and the words of the last input, for rules that
// are told one by one.
type table struct {
	t   *testing.T
	s   *state
	now time.Time
	fx  effects
	ids byte
}

func newTable(t *testing.T) *table {
	x := &table{t: t, now: time.UnixMilli(1_800_000_000_000)}
	x.s = newState(Default().Limits, func() schemas.UUID { x.ids++; return schemas.UUID{x.ids} })
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 2, ShareBytes: 4 << 20, WindowBytes: 1 << 20})
	x.s.epochTurned(&schemas.EpochTurned{Epoch: 3, Turn: schemas.EpochTurned_TURN_OPENED})
	return x
}

func orderOf(n int, machine string) *schemas.BackupQueued {
	job := schemas.JobID("/t", fmt.Sprint(n))
	return &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes(), Of: 1}, Backup: schemas.BackupID(job, "a", machine).Bytes(),
		Machine: &schemas.Machine{Source: "a", Id: machine, Name: "db " + machine}, Options: &schemas.Options{}, SinceMs: int64(n)}
}

func (x *table) order(q *schemas.BackupQueued) string {
	return x.do(func(fx *effects) {
		if err := x.s.ordered(q, x.now, fx); err != nil {
			x.t.Fatal(err)
		}
	})
}

func (x *table) tick(d time.Duration) string {
	x.now = x.now.Add(d)
	return x.do(func(fx *effects) { x.s.tick(x.now, fx) })
}

// export says a word of the exporter on the attempt that q's machine has open.
func (x *table) export(q *schemas.BackupQueued, w schemas.ExportEnded_Word) string {
	run := x.open(q).GetRun()
	return x.do(func(fx *effects) {
		x.s.exported(&schemas.ExportEnded{Run: run, Machine: q.GetMachine(), Word: w, Reason: "cut off"}, x.now, fx)
	})
}

func (x *table) judge(q *schemas.BackupQueued, status schemas.Status) string {
	v := &schemas.Verdict{Status: status, Point: &schemas.Point{Path: "points/" + fmt.Sprint(q.GetSinceMs())}}
	return x.do(func(fx *effects) {
		x.s.judged(&schemas.BackupJudged{Run: &schemas.Run{Backup: q.GetBackup(), Attempt: 1}, Machine: q.GetMachine(),
			Word: &schemas.BackupJudged_Verdict{Verdict: v}}, x.now, fx)
	})
}

func (x *table) progress(q *schemas.BackupQueued) string {
	return x.do(func(fx *effects) {
		x.s.judged(&schemas.BackupJudged{Run: x.open(q).GetRun(), Machine: q.GetMachine(), Word: &schemas.BackupJudged_Progress{Progress: &schemas.Progress{}}}, x.now, fx)
	})
}

func (x *table) open(q *schemas.BackupQueued) *schemas.OpenRun {
	return x.s.machine(q.GetMachine()).row.GetOpen()
}

// do returns what an input led to, as "word machine attempt (status) reason".
func (x *table) do(f func(*effects)) string {
	x.fx = effects{}
	f(&x.fx)
	var b strings.Builder
	for _, w := range append(append([]*schemas.BackupLeased{}, x.fx.first...), x.fx.then...) {
		fmt.Fprintf(&b, "%s %s %d", strings.ToLower(strings.TrimPrefix(w.GetVerb().String(), "VERB_")), w.GetMachine().GetId(), w.GetRun().GetAttempt())
		if w.GetStatus() != 0 {
			fmt.Fprintf(&b, " (%s)", schemas.StatusWord(w.GetStatus()))
		}
		if s := w.GetReason() + w.GetWaiting(); s != "" {
			fmt.Fprintf(&b, ": %s", s)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func (x *table) want(got, want string) {
	x.t.Helper()
	if got != want {
		x.t.Errorf("got  %s\nwant %s", got, want)
	}
}

const (
	snapshotRemoved = schemas.ExportEnded_WORD_SNAPSHOT_REMOVED
	dirRemoved      = schemas.ExportEnded_WORD_DIR_REMOVED
	lost            = schemas.ExportEnded_WORD_LOST
)

func TestOneBackup(t *testing.T) {
	x := newTable(t)
	q := orderOf(1, "m1")
	x.want(x.order(q), "queued m1 0; leased m1 1")
	if len(x.fx.rows) != 1 || len(x.fx.first) != 0 {
		t.Errorf("a lease is told after its row: %+v", x.fx)
	}
	x.want(x.order(q), "")
	x.want(x.export(q, snapshotRemoved), "")
	x.want(x.judge(q, schemas.Status_STATUS_COMPLETED), "ended m1 1 (completed)")
	x.want(x.judge(q, schemas.Status_STATUS_COMPLETED), "")
	x.want(x.tick(time.Hour), "ended m1 1 (completed)") // until the exporter answers
	x.want(x.export(q, dirRemoved), "")
	x.want(x.order(q), "")
	x.want(x.order(orderOf(2, "m1")), "queued m1 0; leased m1 1")
	if base := x.fx.then[1].GetBase().GetPath(); base != "points/1" {
		t.Errorf("base is %q", base)
	}
	full := orderOf(3, "m2")
	full.Options.Mode = schemas.Options_MODE_FULL
	x.s.machine(full.GetMachine()).row.Last = &schemas.Point{Path: "p"}
	x.order(full)
	if x.open(full).GetBase() != nil {
		t.Error("a full backup has a base")
	}
}

func TestWhatOrdersWaitFor(t *testing.T) {
	x := newTable(t)
	x.s.epoch = 0
	x.want(x.order(orderOf(1, "m1")), "queued m1 0: the vault's first epoch")
	x.want(x.tick(time.Second), "")
	x.s.epoch = 3
	x.want(x.tick(time.Second), "leased m1 1")
	x.want(x.order(orderOf(2, "m1")), "queued m1 0: backup "+schemas.IDText(x.open(orderOf(1, "m1")).GetRun().GetBackup())+" of the same machine")
	x.want(x.order(orderOf(3, "m2")), "queued m2 0; leased m2 1")
	x.want(x.order(orderOf(4, "m3")), "queued m3 0: position 1 of 1 at source a; a snapshot slot of source a: 2 of 2 are in use")
	x.want(x.export(orderOf(1, "m1"), snapshotRemoved), "leased m3 1")
	x.want(x.export(orderOf(3, "m2"), snapshotRemoved), "")
	x.want(x.order(orderOf(5, "m4")), "queued m4 0; leased m4 1")
	x.want(x.export(orderOf(4, "m3"), snapshotRemoved), "")
	x.want(x.order(orderOf(6, "m5")), "queued m5 0: position 1 of 1 at source a; a window in the staging share of source a: 4 of 4 are in use")
	y := newTable(t)
	y.s.sourceFound("a", nil)
	y.want(y.order(orderOf(1, "m1")), "queued m1 0: position 1 of 1 at source a; source a to be listed")
}

func TestFiveAttempts(t *testing.T) {
	x := newTable(t)
	q := orderOf(1, "m1")
	x.order(q)
	for n, wait := range []time.Duration{5, 10, 20, 40} {
		x.want(x.export(q, lost), fmt.Sprintf("ended m1 %d: cut off", n+1))
		x.want(x.tick(wait*time.Second), "") // the slots are not free yet
		x.export(q, snapshotRemoved)
		x.want(x.export(q, dirRemoved), fmt.Sprintf("leased m1 %d: cut off", n+2)) // with the reason of the one before
	}
	x.want(x.export(q, lost), "withdrawn m1 5 (failed): attempt 5 of 5: cut off")
	x.want(x.export(q, snapshotRemoved), "")
	x.want(x.export(q, dirRemoved), "")
	x.want(x.tick(time.Hour), "withdrawn m1 5 (failed): attempt 5 of 5: cut off")
	x.want(x.judge(q, schemas.Status_STATUS_FAILED), "ended m1 5 (failed)")
	if x.open(q) != nil || len(x.fx.first) != 1 {
		t.Error("the last word must be out before its row goes")
	}
}

func TestBackoffIsWaitedFor(t *testing.T) {
	x := newTable(t)
	q := orderOf(1, "m1")
	x.order(q)
	x.export(q, lost)
	x.export(q, snapshotRemoved)
	x.want(x.export(q, dirRemoved), "")
	x.want(x.tick(4*time.Second), "")
	x.want(x.tick(time.Second), "leased m1 2: cut off")
	for attempt, want := range map[uint32]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 99: 5 * time.Minute} {
		if got := backoff(attempt); got != want {
			t.Errorf("backoff after attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

// Attempts that end while too few targets are up are not the backup's fault.
func TestBelowQuorumIsNotCounted(t *testing.T) {
	x := newTable(t)
	x.s.targetTurned(&schemas.TargetTurned{Target: "t1", SinceMs: 1, Quorum: false})
	q := orderOf(1, "m1")
	x.order(q)
	for range 9 {
		x.export(q, lost)
		x.export(q, snapshotRemoved)
		x.export(q, dirRemoved)
		x.tick(5 * time.Minute)
	}
	if o := x.open(q); o.GetCounted() != 0 || o.GetRun().GetAttempt() != 10 || o.GetState() != schemas.OpenRun_STATE_LEASED {
		t.Errorf("got %v", o)
	}
	x.s.targetTurned(&schemas.TargetTurned{Target: "t2", SinceMs: 2, Quorum: true})
	x.export(q, lost)
	if x.open(q).GetCounted() != 1 {
		t.Error("an attempt with quorum is counted")
	}
}

func TestSilenceAndCap(t *testing.T) {
	x := newTable(t)
	q := orderOf(1, "m1")
	x.order(q)
	x.want(x.tick(14*time.Minute), "")
	x.progress(q)
	if len(x.fx.rows) != 1 {
		t.Error("a deadline older than a minute belongs into the row")
	}
	x.want(x.tick(14*time.Minute), "")
	x.want(x.tick(time.Minute), "ended m1 1: attempt 1 made no progress for 15m0s")
	x.export(q, snapshotRemoved)
	x.want(x.export(q, dirRemoved), "")
	x.want(x.tick(time.Minute), "leased m1 2: attempt 1 made no progress for 15m0s")
	for range 72*6 - 1 {
		x.want(x.tick(10*time.Minute), "")
		x.progress(q)
	}
	x.want(x.tick(10*time.Minute), "withdrawn m1 2 (failed): attempt 2 was not done after 72h0m0s")
}

func TestCancel(t *testing.T) {
	x := newTable(t)
	one, two := orderOf(1, "m1"), orderOf(2, "m1")
	x.order(one)
	x.order(two)
	cancel := func(n int) string {
		id := schemas.JobID("/t", fmt.Sprint(n))
		return x.order(&schemas.BackupQueued{Job: &schemas.Job{Id: id.Bytes()}, Cancel: true})
	}
	x.want(cancel(7), "")
	x.want(cancel(2), "withdrawn m1 0 (cancelled): cancelled, as asked")
	if len(x.fx.first) != 1 {
		t.Error("a pending order goes only after it was told")
	}
	x.want(x.order(two), "")
	x.want(cancel(1), "withdrawn m1 1 (cancelled): cancelled, as asked")
	x.want(cancel(1), "")
	x.want(x.judge(one, schemas.Status_STATUS_CANCELLED), "ended m1 1 (cancelled)")
}

func TestTooManyAndTooOld(t *testing.T) {
	x := newTable(t)
	for n := range 17 {
		x.order(orderOf(n, "m1"))
	}
	x.want(x.order(orderOf(20, "m1")), `refused m1 0 (refused): too many pending: 16 orders of machine "db m1" wait already`)
	x.want(x.order(orderOf(20, "m1")), "")
	old := orderOf(30, "m2")
	old.Options.NotAfterMs = x.now.UnixMilli() - 1
	x.want(x.order(old), `refused m2 0 (refused): expired: backup of "db m2" was not to begin after 2027-01-15T07:59:59Z`)
	x.order(orderOf(31, "m3"))
	waits := orderOf(32, "m4")
	waits.Options.NotAfterMs = x.now.Add(time.Minute).UnixMilli()
	x.order(waits)
	x.want(x.tick(2*time.Minute), `refused m4 0 (refused): expired: backup of "db m4" was not to begin after 2027-01-15T08:01:00Z`)
	// What was begun in time may be ordered again when it is too old.
	x.s.machine(orderOf(31, "m3").GetMachine()).row.Open.Order.Options.NotAfterMs = 1
	again := orderOf(31, "m3")
	again.Options.NotAfterMs = 1
	x.want(x.order(again), "")
}

func TestPriorityThenAge(t *testing.T) {
	x := newTable(t)
	x.s.epoch = 0
	for n, p := range []int32{0, 5, 5, 0} {
		q := orderOf(9-n, fmt.Sprint("m", n))
		q.Options.Priority = p
		x.order(q)
	}
	x.s.epoch = 1
	x.want(x.tick(time.Second), "leased m2 1; leased m1 1; queued m3 0: position 1 of 2 at source a; a snapshot slot of source a: 2 of 2 are in use; "+
		"queued m0 0: position 2 of 2 at source a; a snapshot slot of source a: 2 of 2 are in use")
}

// Every word that stands in a row is said again after a recall, to the letter.
func TestRecallSaysAgain(t *testing.T) {
	x := newTable(t)
	leased, backoff, withdrawn, judged := orderOf(1, "m1"), orderOf(2, "m2"), orderOf(3, "m3"), orderOf(4, "m4")
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 9, ShareBytes: 9 << 20, WindowBytes: 1 << 20})
	x.s.machine(leased.GetMachine()).row.Last = &schemas.Point{Path: "base"}
	for _, q := range []*schemas.BackupQueued{leased, backoff, withdrawn, judged} {
		x.order(q)
	}
	words := map[string]*schemas.BackupLeased{"m1": x.s.wordOn(leased)}
	x.export(backoff, lost)
	words["m2"] = x.fx.then[0]
	x.do(func(fx *effects) { x.s.attemptEnded(x.s.machine(withdrawn.GetMachine()), 1, "gone", true, x.now, fx) })
	words["m3"] = x.fx.then[0]
	x.judge(judged, schemas.Status_STATUS_COMPLETED)
	words["m4"] = x.fx.then[0]

	y := newTable(t)
	y.now = x.now.Add(24 * time.Hour)
	for _, m := range x.s.sorted(everyone) {
		y.s.recalled(m.row)
	}
	y.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 1, ShareBytes: 4 << 20, WindowBytes: 2 << 20}) // limits changed meanwhile
	y.do(func(fx *effects) { y.s.begin(y.now, fx) })
	if len(y.fx.then) != len(words) {
		t.Fatalf("said again: %v", y.fx.then)
	}
	for _, w := range y.fx.then {
		if !proto.Equal(w, words[w.GetMachine().GetId()]) {
			t.Errorf("said  %v\nagain %v", words[w.GetMachine().GetId()], w)
		}
	}
	if u := y.s.source("a").used; u.snapshots != 4 || u.dirs != 4 || u.connections != 3 {
		t.Errorf("recounted are %+v", u)
	}
	y.want(y.tick(14*time.Minute), "") // a deadline that passed while we were off gets one window of grace
	y.want(y.tick(time.Minute), "ended m1 1: attempt 1 made no progress for 15m0s")
}

func (s *state) wordOn(q *schemas.BackupQueued) *schemas.BackupLeased {
	return openWord(s.machine(q.GetMachine()).row.GetOpen())
}
