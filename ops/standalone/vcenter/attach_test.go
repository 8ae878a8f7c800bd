package vcenter

import (
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

func (c *client) change(vm *object.VirtualMachine, op types.VirtualDeviceConfigSpecOperation, d *types.VirtualDisk) error {
	task, err := vm.Reconfigure(c.ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: op, Device: d}}})
	c.ck(err)
	return task.Wait(c.ctx)
}

// Goal: a disk can go from one machine to another with its bytes, and stays when
// the one that it came from is destroyed; what is not there is not attached.
func TestSwapDisk(t *testing.T) {
	dir := t.TempDir()
	v, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := login(t, v)
	from, a := c.add(Machine{Name: "a", Datastore: "ds-0", Disks: []Disk{{Size: small}}})
	to, b := c.add(Machine{Name: "b", Datastore: "ds-1", Disks: []Disk{{Size: small}}})
	c.write(from, 0, "moved", 70000)
	disk := object.VirtualDeviceList(c.props(a).Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	file := flats(c.props(a).Config.Hardware.Device)[0].FileName
	attach := func(file string) *types.VirtualDisk {
		return &types.VirtualDisk{VirtualDevice: types.VirtualDevice{ControllerKey: 1000,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file}}}}
	}
	if err := c.change(b, types.VirtualDeviceConfigSpecOperationAdd, attach(file)); !fault.Is(err, &types.FileNotFound{}) {
		t.Errorf("a disk that another has: %v", err)
	}
	c.ck(c.change(a, types.VirtualDeviceConfigSpecOperationRemove, disk))
	c.ck(c.change(b, types.VirtualDeviceConfigSpecOperationAdd, attach(file)))
	c.ck(v.Destroy(from))
	c.reads(to, 1, "moved", 70000)
	s := c.snap(b, "s")
	if got := c.export(b, s); len(got) != 2 || string(got[1][70000:70005]) != "moved" {
		t.Error("the export has not what was moved")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = start(t, Options{Dir: dir})
	c = login(t, v)
	c.reads(to, 1, "moved", 70000)
}
