package scheduler

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// ended gives an order's backup a verdict and its slots back.
func (x *table) ended(q *schemas.BackupQueued, status schemas.Status, claimed, lied uint64) {
	run := x.open(q).GetRun()
	x.do(func(fx *effects) {
		x.s.judged(&schemas.BackupJudged{Run: run, Machine: q.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{Status: status,
			Point: &schemas.Point{Path: "p"}, Totals: &schemas.Totals{ClaimedPlaces: claimed, LiedPlaces: lied}}}}, x.now, fx)
	})
	x.export(q, snapshotRemoved)
	x.export(q, dirRemoved)
}

// A machine whose change tracking lied is read whole, and compared, until one such
// backup found it true; a backup that failed or compared nothing proves nothing.
func TestALieIsNotForgivenBeforeAFullReadIsClean(t *testing.T) {
	x := newTable(t)
	n := 0
	backup := func(status schemas.Status, claimed, lied uint64) string {
		n++
		q := orderOf(n, "m1")
		x.order(q)
		check := x.open(q).GetCheck()
		if word := x.s.wordOn(q); word.GetCheck() != check {
			t.Errorf("leased says %q, the row %q", word.GetCheck(), check)
		}
		row := proto.CloneOf(x.s.machine(q.GetMachine()).row)
		x.ended(q, status, claimed, lied)
		// What is in the row is all that a restart knows.
		y := newTable(t)
		y.s.recalled(row)
		if again := y.s.wordOn(q); again.GetCheck() != check {
			t.Errorf("after a recall leased says %q, and before %q", again.GetCheck(), check)
		}
		return check
	}
	const done, failed = schemas.Status_STATUS_COMPLETED, schemas.Status_STATUS_FAILED
	distrusted := func(when, check string, want bool) {
		t.Helper()
		if strings.HasPrefix(check, "change tracking lied in backup ") != want {
			t.Errorf("%s: check is %q", when, check)
		}
	}
	distrusted("the first", backup(done, 0, 0), false)
	distrusted("an honest one", backup(done, 100, 3), false)
	distrusted("after a lie", backup(failed, 100, 0), true)
	distrusted("after one that failed", backup(done, 0, 0), true)
	distrusted("after one that compared nothing", backup(done, 100, 1), true)
	distrusted("after another lie", backup(done, 100, 0), true)
	distrusted("after a clean one", backup(done, 0, 0), false)
}

// One backup in n is compared, whichever machine's, where there is a base; the
// attempts of one backup all, or none.
func TestOneBackupInNIsCompared(t *testing.T) {
	checked, whole := 0, 0
	for n := range 400 {
		x := newTable(t)
		x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 2, ShareBytes: 4 << 20, WindowBytes: 1 << 20, CheckOneIn: 10})
		q := orderOf(n, fmt.Sprint("m", n))
		x.s.machine(q.GetMachine()).row.Last = &schemas.Point{Path: "p"}
		x.order(q)
		if x.open(q).GetCheck() == "one backup in 10 is compared against a full read" {
			checked++
		}
		y := newTable(t)
		y.s.sourceFound("a", x.s.source("a").found)
		y.order(q)
		if y.open(q).GetCheck() != "" {
			whole++
		}
		first := x.open(q).GetCheck()
		x.export(q, lost)
		x.export(q, snapshotRemoved)
		x.export(q, dirRemoved)
		x.tick(backoffMax)
		if o := x.open(q); o.GetRun().GetAttempt() != 2 || o.GetCheck() != first {
			t.Fatalf("attempt %d: check is %q, and first %q", o.GetRun().GetAttempt(), o.GetCheck(), first)
		}
	}
	if checked < 20 || checked > 60 || whole > 0 {
		t.Errorf("%d of 400 with a base are compared, and %d without", checked, whole)
	}
}
