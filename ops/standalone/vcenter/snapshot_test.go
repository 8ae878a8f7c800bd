package vcenter

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const small = 1 << 20

func (c *client) write(id string, n int, text string, at int64) {
	c.Helper()
	if _, err := c.v.Disk(id, n).WriteAt([]byte(text), at); err != nil {
		c.Fatal(err)
	}
}

func (c *client) reads(id string, n int, text string, at int64) {
	c.Helper()
	p := make([]byte, len(text))
	if _, err := c.v.Disk(id, n).ReadAt(p, at); err != nil || string(p) != text {
		c.Fatalf("the guest reads %q at %d: %v, want %q", p, at, err, text)
	}
}

// Goal: nested snapshots chain, each holds its own moment, and a removal in the
// middle merges down. Method: three moments of one block; the middle is removed;
// the outer ones must read as before, and the chain be one shorter.
func TestNestedSnapshots(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "nest", Tracking: true, Disks: []Disk{{Size: small}}})
	var refs []types.ManagedObjectReference
	for i := range 3 {
		c.write(id, 0, fmt.Sprint("moment ", i), 100)
		refs = append(refs, c.snap(vm, fmt.Sprint("s", i)))
	}
	c.write(id, 0, "now     ", 100)
	depth := func() (n int) {
		for b := flats(c.props(vm).Config.Hardware.Device)[0]; b != nil; b = b.Parent {
			n++
		}
		return n
	}
	if n := depth(); n != 4 {
		t.Fatalf("a chain of %d files under three snapshots", n)
	}
	if lay := c.props(vm).LayoutEx; len(lay.Disk) != 1 || len(lay.Disk[0].Chain) != 4 || len(lay.Snapshot) != 3 {
		t.Fatalf("layoutEx %+v", lay)
	}
	c.ck(c.unsnap(refs[1]))
	if n := depth(); n != 3 {
		t.Fatalf("a chain of %d files after a removal", n)
	}
	for _, i := range []int{0, 2} {
		if b := c.export(vm, refs[i])[0]; string(b[100:108]) != fmt.Sprint("moment ", i) {
			t.Fatalf("snapshot %d reads %q", i, b[100:108])
		}
	}
	task, err := vm.RemoveAllSnapshot(c.ctx, nil)
	c.ck(err)
	c.ck(task.Wait(c.ctx))
	p := c.props(vm)
	if depth() != 1 || p.Snapshot != nil || p.Runtime.ConsolidationNeeded {
		t.Fatalf("after all: %d files, %+v", depth(), p.Snapshot)
	}
	c.reads(id, 0, "now     ", 100)
	if left, _ := filepath.Glob(filepath.Join(c.v.Dir, "datastores", "*", "nest", "*delta*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

// Goal: what a removal leaves behind is said and can be cleaned. Method: removals
// without consolidation, and with a file that an open export holds.
func TestConsolidationNeeded(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "orphan", Disks: []Disk{{Size: small}}})
	needed := func() bool { return c.props(vm).Runtime.ConsolidationNeeded }
	consolidate := func() error {
		res, err := methods.ConsolidateVMDisks_Task(c.ctx, c.c.Client, &types.ConsolidateVMDisks_Task{This: vm.Reference()})
		c.ck(err)
		return object.NewTask(c.c.Client, res.Returnval).Wait(c.ctx)
	}
	s := c.snap(vm, "a")
	c.write(id, 0, "kept", 0)
	task, err := methods.RemoveSnapshot_Task(c.ctx, c.c.Client, &types.RemoveSnapshot_Task{This: s, Consolidate: types.NewBool(false)})
	c.ck(err)
	c.ck(object.NewTask(c.c.Client, task.Returnval).Wait(c.ctx))
	if !needed() {
		t.Fatal("nothing says that a delta was left")
	}
	c.ck(consolidate())
	if needed() {
		t.Fatal("still needed after a consolidation")
	}
	s = c.snap(vm, "b")
	l, err := vm.ExportSnapshot(c.ctx, &s)
	c.ck(err)
	_, err = l.Wait(c.ctx, nil)
	c.ck(err)
	if err := c.unsnap(s); !fault.Is(err, &types.FileLocked{}) || !needed() {
		t.Fatalf("removal under an export: %v, needed %v", err, needed())
	}
	if err := consolidate(); !fault.Is(err, &types.FileLocked{}) {
		t.Fatalf("consolidation under an export: %v", err)
	}
	c.ck(l.Abort(c.ctx, nil))
	c.ck(consolidate())
	if needed() {
		t.Fatal("still needed after the export")
	}
	c.reads(id, 0, "kept", 0)
}

// Goal: a branch that a revert left is deleted, but not under an export of it.
func TestBranchUnderExport(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "branch", Disks: []Disk{{Size: small}}})
	c.snap(vm, "a")
	c.write(id, 0, "branch", 0)
	b := c.snap(vm, "b")
	l, info := c.lease(vm, b)
	task, err := vm.RevertToSnapshot(c.ctx, "a", true)
	c.ck(err)
	c.ck(task.Wait(c.ctx))
	if err := c.unsnap(b); !fault.Is(err, &types.FileLocked{}) {
		t.Errorf("removal under an export: %v", err)
	}
	if got, err := c.download(info.Items[0]); err != nil || string(got[:6]) != "branch" {
		t.Errorf("the export of a branch that is left: %v", err)
	}
	c.ck(l.Complete(c.ctx))
}

// Goal: a revert takes the guest back and begins tracking anew.
func TestRevert(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "back", On: true, Tracking: true, Disks: []Disk{{Size: small}}})
	c.write(id, 0, "old", 9)
	s := c.snap(vm, "a")
	was := c.snapFlats(s)[0].ChangeId
	c.write(id, 0, "new", 9)
	task, err := vm.RevertToSnapshot(c.ctx, "a", true)
	c.ck(err)
	c.ck(task.Wait(c.ctx))
	c.reads(id, 0, "old", 9)
	if c.props(vm).Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		t.Fatal("a machine goes on from a snapshot without memory")
	}
	s2 := c.snap(vm, "b")
	if _, _, err := c.areas(vm, &s2, 2000, was, small); !fault.Is(err, &types.FileFault{}) {
		t.Fatalf("a change id from before a revert: %v", err)
	}
}

// Goal: what a snapshot cannot hold is left out of it, and can be seen before.
func TestDisksThatCannot(t *testing.T) {
	c := login(t, start(t, Options{}))
	_, vm := c.add(Machine{Name: "odd", On: true, Tracking: true, Encrypted: true, Disks: []Disk{
		{Size: small}, {Size: small, Mode: "independent_persistent"}, {Size: small, Mode: "rdm"}, {Size: small, Mode: "shared"}, {Size: small, Mode: "rdm-virtual"}}})
	s := c.snap(vm, "s")
	p := c.props(vm)
	if p.Config.KeyId == nil {
		t.Error("nothing says that the machine is encrypted")
	}
	var modes, sharing []string
	var rdm []string
	for _, d := range object.VirtualDeviceList(p.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		switch b := d.GetVirtualDevice().Backing.(type) {
		case *types.VirtualDiskFlatVer2BackingInfo:
			modes, sharing = append(modes, b.DiskMode), append(sharing, b.Sharing)
			if frozen := b.DiskMode == "persistent"; (b.Parent != nil) != frozen {
				t.Errorf("disk %s of mode %s has parent %v", b.FileName, b.DiskMode, b.Parent)
			}
		case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
			rdm = append(rdm, b.CompatibilityMode)
		}
	}
	if !slices.Equal(modes, []string{"persistent", "independent_persistent", "persistent"}) || sharing[2] != "sharingMultiWriter" ||
		!slices.Equal(rdm, []string{"physicalMode", "virtualMode"}) {
		t.Errorf("modes %v, sharing %v, mappings %v", modes, sharing, rdm)
	}
	if got := len(c.export(vm, s)); got != 3 {
		t.Errorf("the export has %d disks: independent and physical ones are not in a snapshot", got)
	}
	for _, m := range []Machine{{Name: "bus", SharedBus: true}, {Name: "pci", Passthrough: true}} {
		m.On, m.Disks = true, []Disk{{Size: small}}
		_, vm := c.add(m)
		task, err := vm.CreateSnapshot(c.ctx, "no", "", false, false)
		c.ck(err)
		if err := task.Wait(c.ctx); !fault.Is(err, &types.GenericVmConfigFault{}) {
			t.Errorf("a snapshot of %s: %v", m.Name, err)
		}
	}
}

// Goal: a quiesced snapshot never falls into a guest's transaction. Method: a
// guest writes pairs as fast as it can; in each snapshot the halves must agree.
func TestQuiesced(t *testing.T) {
	c := login(t, start(t, Options{}))
	id, vm := c.add(Machine{Name: "busy", On: true, Disks: []Disk{{Size: small}}})
	stop := c.v.Disk(id, 0).Run(Work{Seed: 7, Every: 1, Bytes: 512})
	for i := range 5 {
		task, err := vm.CreateSnapshot(c.ctx, fmt.Sprint(i), "", false, true)
		c.ck(err)
		info, err := task.WaitForResult(c.ctx)
		c.ck(err)
		ref := info.Result.(types.ManagedObjectReference)
		b := c.export(vm, ref)[0]
		if !bytes.Equal(b[:small/2], b[small/2:]) {
			t.Fatal("a quiesced snapshot holds half a transaction")
		}
		if again := c.export(vm, ref)[0]; !bytes.Equal(b, again) {
			t.Fatal("a snapshot moves under its guest's writes")
		}
		c.ck(c.unsnap(ref))
	}
	c.ck(stop())
}
