package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Where nothing gets on, each silence halves what is open, down to single snapshots;
// then each completed backup gives one more, up to the limit.
func TestADeadSinkIsProbedWithSingleSnapshots(t *testing.T) {
	x := newFair(t, 8)
	var orders []*schemas.BackupQueued
	for i := range 8 {
		orders = append(orders, orderOf(i, fmt.Sprint("m", i)))
		x.order(orders[i])
	}
	clean := func() {
		for _, q := range orders {
			if o := x.open(q); o.GetState() != schemas.OpenRun_STATE_LEASED && o != nil {
				x.export(q, snapshotRemoved)
				x.export(q, dirRemoved)
			}
		}
	}
	x.s.targetTurned(&schemas.TargetTurned{Target: "t1", SinceMs: 1}) // so that no attempt counts
	for _, open := range []int{8, 4, 2, 1, 1} {
		if n := int(x.s.source("a").used.snapshots); n != open {
			t.Fatalf("%d are open, not %d", n, open)
		}
		x.tick(15 * time.Minute) // all are silent
		clean()
		x.tick(backoffMax)
	}
	x.want(x.order(orderOf(20, "m20")), "queued m20 0: position 8 of 8 at source a; a snapshot slot of source a: 1 of 1 are in use, of 8 when attempts get on again")
	x.s.targetTurned(&schemas.TargetTurned{Target: "t1", SinceMs: 2, Quorum: true})
	for _, open := range []int{2, 3, 4, 5, 6, 7} {
		for _, q := range orders {
			if x.open(q).GetState() == schemas.OpenRun_STATE_LEASED {
				x.over(q)
				break
			}
		}
		for i := range 9 { // new ones in the place of those that ended
			x.order(orderOf(100*open+i, fmt.Sprint("n", 100*open+i)))
		}
		if n := int(x.s.source("a").used.snapshots); n != open {
			t.Fatalf("%d are open, not %d", n, open)
		}
	}
	x.over(orderOf(200, "n200"))
	if at := x.s.source("a").brake.at; at != 0 {
		t.Errorf("still braked at %d", at)
	}
}

// A machine that cannot be backed up says nothing of the sink, and neither does an
// attempt that ends after it got on.
func TestWhatGotOnBrakesNobody(t *testing.T) {
	x := newFair(t, 8)
	q, bad := orderOf(1, "m1"), orderOf(2, "m2")
	x.order(q)
	x.order(bad)
	x.now = x.now.Add(time.Second)
	x.progress(q)
	x.export(q, lost)
	x.do(func(fx *effects) { x.s.attemptEnded(x.s.machine(bad.GetMachine()), 1, "no disks", true, x.now, fx) })
	if at := x.s.source("a").brake.at; at != 0 {
		t.Errorf("braked at %d", at)
	}
}

// A scheduler that died in a storm does not begin with a gale.
func TestARecallIsBraked(t *testing.T) {
	x, y := newFair(t, 8), newFair(t, 8)
	for i := range 8 {
		x.order(orderOf(i, fmt.Sprint("m", i)))
	}
	x.export(orderOf(3, "m3"), lost)
	x.export(orderOf(3, "m3"), snapshotRemoved)
	x.export(orderOf(3, "m3"), dirRemoved)
	for _, m := range x.s.sorted(everyone) {
		y.s.recalled(m.row)
	}
	y.do(func(fx *effects) { y.s.begin(x.now, fx) })
	if at := y.s.source("a").brake.at; at != 7 {
		t.Errorf("braked at %d; 7 are open and one waits to be tried again", at)
	}
}
