package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Every limit has a number beside what is used of it, and a room that is gone shows
// nothing.
func TestDialsShowEachLimit(t *testing.T) {
	x := newPlaces(t, 3, 2, 7)
	x.place("m1", "h1", "d1")
	x.place("m2", "h1", "d1")
	x.place("m3", "h1", "d1")
	x.s.policyBound("gold", 5)
	x.order(policed(orderOf(1, "m1"), "", "gold"))
	x.order(policed(orderOf(2, "m2"), "t", "gold"))
	late := orderOf(3, "m3")
	late.SinceMs = x.now.Add(-time.Minute).UnixMilli()
	x.order(late)
	x.s.source("a").brake.at = 4
	shown := map[string]func() float64{}
	d := newDials(func(name, help string, labels map[string]string, value func() float64) {
		if labels["source"] != "a" || help == "" {
			t.Errorf("%s is of %v: %q", name, labels, help)
		}
		shown[name+labels["of"]+labels["policy"]] = value
	})
	d.show(x.s, x.now)
	want := map[string]float64{"waiting_machines": 1, "waiting_seconds": 60, "brake_snapshots": 4, "policy_opengold": 2, "policy_maxgold": 5,
		"slotssnapshots": 2, "slots_maxsnapshots": 9, "slotswindows": 2, "slots_maxwindows": 9, "slotsconnections": 2, "slots_maxconnections": 7,
		"slotshost": 2, "slots_maxhost": 3, "slotsdatastore": 2, "slots_maxdatastore": 2}
	for name, n := range want {
		if value := shown["holdfast_scheduler_"+name]; value == nil || value() != n {
			t.Errorf("%s is not %v", name, n)
		}
	}
	if len(shown) != len(want) {
		t.Errorf("%d are shown, not %d", len(shown), len(want))
	}
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 1, ShareBytes: 1, WindowBytes: 1})
	d.show(x.s, x.now)
	if n := shown["holdfast_scheduler_slots_maxsnapshots"](); n != 1 {
		t.Errorf("a limit that changed is %v", n)
	}
	d.close()
	for name, value := range shown {
		if n := fmt.Sprint(value()); n != "0" {
			t.Errorf("%s is %s of a room that is gone", name, n)
		}
	}
}
