package vcenter

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"
)

// Goal: each fault of a snapshot strikes as what it is, as often as it says, and
// then no more. Method: a table; the call and the task are told apart.
func TestSnapshotFaults(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", On: true, Disks: []Disk{{Size: small}}})
	for name, one := range map[string]struct {
		f     Fault
		call  bool
		want  types.BaseMethodFault
		ghost bool
	}{
		"quiesce, task": {f: QuiesceFails{When: When{Max: 1}}, want: &types.ApplicationQuiesceFault{}},
		"quiesce, call": {f: QuiesceFails{When: When{Max: 1}, Call: true}, call: true, want: &types.ApplicationQuiesceFault{}},
		"task":          {f: TaskFails{When: When{Max: 1, Machine: id}, Method: "CreateSnapshot_Task"}, want: &types.GenericVmConfigFault{}},
		"call":          {f: TaskFails{When: When{Max: 1, Machine: "m"}, Method: "CreateSnapshot_Task", Call: true, Err: &types.TaskInProgress{}}, call: true, want: &types.TaskInProgress{}},
		"full":          {f: DatastoreFull{When{Max: 1}}, want: &types.NoDiskSpace{}},
		"ghost, task":   {f: SnapshotGhost{When: When{Max: 1}}, want: &types.Timedout{}, ghost: true},
		"ghost, call":   {f: SnapshotGhost{When: When{Max: 1}, Call: true}, call: true, ghost: true},
	} {
		undo := c.v.Inject(one.f)
		task, err := vm.CreateSnapshot(c.ctx, name, "", false, true)
		if (err != nil) != one.call {
			t.Fatalf("%s: the call says %v", name, err)
		}
		if err == nil {
			err = task.Wait(c.ctx)
		}
		if one.want == nil && !errors.Is(err, io.EOF) || one.want != nil && !fault.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for ; one.ghost && len(c.v.Counters().Open) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		}
		if open := c.v.Counters().Open; (len(open) == 1) != one.ghost {
			t.Errorf("%s leaves %v", name, open)
		}
		task, err = vm.RemoveAllSnapshot(c.ctx, nil)
		c.ck(err)
		c.ck(task.Wait(c.ctx))
		c.ck(c.unsnap(c.snap(vm, "after "+name)))
		undo()
	}
}

// Goal: a fault is for the machine that it names, skips and ends as it says.
func TestWhen(t *testing.T) {
	c := login(t, start(t, Options{}))
	_, one := c.add(Machine{Name: "one", Disks: []Disk{{Size: small}}})
	_, two := c.add(Machine{Name: "two", Disks: []Disk{{Size: small}}})
	undo := c.v.Inject(TaskFails{When: When{Machine: "one", Skip: 1, Max: 1}, Method: "RemoveSnapshot_Task"})
	defer undo()
	var failed []bool
	for range 3 {
		failed = append(failed, c.unsnap(c.snap(one, "s")) != nil)
		c.ck(c.unsnap(c.snap(two, "s")))
	}
	if failed[0] || !failed[1] || failed[2] {
		t.Fatalf("failed: %v", failed)
	}
}
