package vcenter

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func (c *client) track(vm *object.VirtualMachine, on bool) {
	c.Helper()
	task, err := vm.Reconfigure(c.ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &on})
	c.ck(err)
	c.ck(task.Wait(c.ctx))
}

func sum(areas []types.DiskChangeExtent) (n int64) {
	for _, a := range areas {
		n += a.Length
	}
	return n
}

// Goal: a query is relative to any id of the same tracking, also of snapshots
// that are gone. Method: three moments, one block more at each.
func TestChangesSinceAnyID(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", Tracking: true, Disks: []Disk{{Size: small}, {Size: small}}})
	var ids []string
	for i := range int64(3) {
		c.write(id, 0, "x", i*2*block)
		s := c.snap(vm, "s")
		ids = append(ids, c.snapFlats(s)[0].ChangeId)
		c.ck(c.unsnap(s))
	}
	s := c.snap(vm, "last")
	for i, want := range []int64{2, 1, 0} {
		areas, _, err := c.areas(vm, &s, 2000, ids[i], small)
		if err != nil || sum(areas) != want*block {
			t.Errorf("since %d: %v %v, want %d blocks", i, areas, err, want)
		}
	}
	if areas, _, err := c.areas(vm, &s, 2000, "*", small); err != nil || sum(areas) != 3*block {
		t.Errorf("allocated: %v %v", areas, err)
	}
	other := c.snapFlats(s)[1].ChangeId
	for _, bad := range []struct {
		id    string
		key   int32
		off   int64
		fault types.BaseMethodFault
	}{{other, 2000, 0, &types.FileFault{}}, {"nonsense", 2000, 0, &types.InvalidArgument{}}, {ids[0], 2000, small, &types.InvalidArgument{}},
		{ids[0], 77, 0, &types.InvalidArgument{}}, {strings.Replace(ids[0], "/", "/9", 1), 2000, 0, &types.FileFault{}}} {
		_, err := methods.QueryChangedDiskAreas(c.ctx, c.c.Client, &types.QueryChangedDiskAreas{This: vm.Reference(), Snapshot: &s,
			DeviceKey: bad.key, ChangeId: bad.id, StartOffset: bad.off})
		if !fault.Is(err, bad.fault) {
			t.Errorf("query %+v: %v", bad, err)
		}
	}
}

// Goal: a write over many blocks changes each of them, whole or in part.
func TestLongWrite(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", Tracking: true, Disks: []Disk{{Size: small, Content: bytes.NewReader(noise(11, small))}}})
	s := c.snap(vm, "a")
	since := c.snapFlats(s)[0].ChangeId
	c.ck(c.unsnap(s))
	long := noise(12, 3*block)
	c.write(id, 0, string(long), block/2)
	s = c.snap(vm, "b")
	if areas, _, err := c.areas(vm, &s, 2000, since, small); err != nil || len(areas) != 1 || areas[0] != (types.DiskChangeExtent{Start: 0, Length: 4 * block}) {
		t.Errorf("changed %v %v", areas, err)
	}
	want := noise(11, small)
	copy(want[block/2:], long)
	if !bytes.Equal(c.export(vm, s)[0], want) {
		t.Error("the bytes are others")
	}
}

// Goal: tracking begins at the next stun that finds no snapshot, and anew after
// it was off or was reset.
func TestTrackingBegins(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", Disks: []Disk{{Size: small}}})
	old := c.snap(vm, "before")
	if got := c.snapFlats(old)[0].ChangeId; got != "" {
		t.Fatalf("change id %q without tracking", got)
	}
	if _, _, err := c.areas(vm, &old, 2000, "*", small); !fault.Is(err, &types.FileFault{}) {
		t.Fatalf("a query without tracking: %v", err)
	}
	c.track(vm, true)
	under := c.snap(vm, "under")
	if got := c.snapFlats(under)[0].ChangeId; got != "" {
		t.Fatalf("tracking began although a snapshot stood: %q", got)
	}
	c.ck(c.unsnap(under))
	c.ck(c.unsnap(old))
	uuids := map[string]bool{}
	next := func() {
		s := c.snap(vm, "s")
		defer func() { c.ck(c.unsnap(s)) }()
		track, _, ok := strings.Cut(c.snapFlats(s)[0].ChangeId, "/")
		if !ok || uuids[track] {
			t.Fatalf("change id of %q, known: %v", track, uuids)
		}
		uuids[track] = true
	}
	next()
	c.track(vm, false)
	c.track(vm, true)
	next()
	c.ck(c.v.Reset(id))
	next()
	c.v.Inject(CBTReset{When{Machine: "m", Max: 1}})
	next()
}

// Goal: the faults of tracking are what they say.
func TestTrackingFaults(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", Tracking: true, Disks: []Disk{{Size: small}}})
	s := c.snap(vm, "a")
	since := c.snapFlats(s)[0].ChangeId
	c.ck(c.unsnap(s))
	c.write(id, 0, "x", 0)
	c.write(id, 0, "x", 4*block)
	undo := c.v.Inject(ChangeIDForeign{When{Max: 1}})
	s = c.snap(vm, "b")
	foreign := c.snapFlats(s)[0].ChangeId
	if _, _, err := c.areas(vm, &s, 2000, foreign, small); !fault.Is(err, &types.FileFault{}) {
		t.Errorf("a foreign id: %v", err)
	}
	undo()
	undo = c.v.Inject(CBTLies{})
	lie, _, err := c.areas(vm, &s, 2000, since, small)
	if err != nil || sum(lie) != block {
		t.Errorf("a lie: %v %v", lie, err)
	}
	undo()
	if truth, _, err := c.areas(vm, &s, 2000, since, small); err != nil || sum(truth) != 2*block {
		t.Errorf("the truth: %v %v", truth, err)
	}
}

// Goal: a disk that grew goes on being tracked, and cannot while snapshots stand.
func TestGrow(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "m", Tracking: true, Disks: []Disk{{Size: small}}})
	s := c.snap(vm, "a")
	since := c.snapFlats(s)[0].ChangeId
	if c.v.Disk(id, 0).Grow(2*small) == nil {
		t.Fatal("a disk grew under a snapshot")
	}
	c.ck(c.unsnap(s))
	c.ck(c.v.Disk(id, 0).Grow(2 * small))
	c.write(id, 0, "far", small+5)
	s = c.snap(vm, "b")
	if areas, _, err := c.areas(vm, &s, 2000, since, 2*small); err != nil || sum(areas) != block || areas[0].Start != small {
		t.Fatalf("changed %v %v", areas, err)
	}
	if b := c.export(vm, s)[0]; len(b) != 2*small || string(b[small+5:small+8]) != "far" {
		t.Fatalf("exported %d bytes", len(b))
	}
}
