package vsphere

import (
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func flatDisk(device, controller, unit int32, file, uuid string) *types.VirtualDisk {
	return &types.VirtualDisk{CapacityInBytes: 1 << 20, VirtualDevice: types.VirtualDevice{Key: device, ControllerKey: controller, UnitNumber: &unit,
		Backing: &types.VirtualDiskFlatVer2BackingInfo{Uuid: uuid, VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file}}}}
}

// A disk keeps its key when it is attached elsewhere; copies that share a UUID,
// and disks without one, have keys all the same.
func TestDiskKeys(t *testing.T) {
	keys := func(devices ...types.BaseVirtualDevice) (all []string) {
		for _, x := range disksOf(devices) {
			all = append(all, x.key)
		}
		return all
	}
	if got := keys(flatDisk(2000, 0, 0, "", "6000C29A-1")); !slices.Equal(got, []string{"disk-6000c29a-1"}) {
		t.Errorf("keys: %q", got)
	}
	if a, b := keys(flatDisk(2000, 0, 0, "", "u"))[0], keys(flatDisk(2005, 0, 5, "", "u"))[0]; a != b {
		t.Errorf("a disk has key %q here and %q there", a, b)
	}
	if got := keys(flatDisk(2000, 0, 0, "", "u"), flatDisk(2001, 0, 1, "", "U"), flatDisk(2002, 0, 2, "", "")); !slices.Equal(got, []string{"disk-u-at-2000", "disk-u-at-2001", "disk-at-2002"}) {
		t.Errorf("keys: %q", got)
	}
}

// A lease's URL is found by controller and unit, else by the file, else by order,
// and is never guessed.
func TestDeviceOfLease(t *testing.T) {
	scsi := &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		VirtualController: types.VirtualController{BusNumber: 1, VirtualDevice: types.VirtualDevice{Key: 1001}}}}
	all := disksOf([]types.BaseVirtualDevice{scsi, flatDisk(2016, 1001, 0, "[ds] vm/a.vmdk", "a"), flatDisk(2017, 1001, 1, "[ds] vm/b.vmdk", "b")})
	yes := true
	url := func(key, target string) types.HttpNfcLeaseDeviceUrl {
		return types.HttpNfcLeaseDeviceUrl{Key: key, TargetId: target, Disk: &yes}
	}
	for name, c := range map[string]struct {
		urls []types.HttpNfcLeaseDeviceUrl
		want string // of the second disk
	}{
		"place": {[]types.HttpNfcLeaseDeviceUrl{url("/vm-1/ParaVirtualSCSIController1:1", "disk-0.vmdk"), url("/vm-1/ParaVirtualSCSIController1:0", "disk-1.vmdk")}, "/vm-1/ParaVirtualSCSIController1:1"},
		"file":  {[]types.HttpNfcLeaseDeviceUrl{url("x", "b.vmdk"), url("y", "a.vmdk")}, "x"},
		"order": {[]types.HttpNfcLeaseDeviceUrl{url("x", ""), {Key: "iso", Url: "https://h/cd.iso"}, url("y", "")}, "y"},
		"none":  {[]types.HttpNfcLeaseDeviceUrl{url("x", ""), url("y", ""), url("z", "")}, ""},
		"twins": {[]types.HttpNfcLeaseDeviceUrl{url("x", "b.vmdk"), url("y", "b.vmdk"), url("z", "a.vmdk")}, ""},
	} {
		l := &lease{info: types.HttpNfcLeaseInfo{DeviceUrl: c.urls}}
		got, err := l.device(all[1], all)
		if (err == nil) != (c.want != "") || got.Key != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got.Key, err, c.want)
		}
	}
}

// A disk is read by ranges only where its frozen bytes are one flat file.
func TestUnflat(t *testing.T) {
	layout := func(name, kind string) *types.VirtualMachineFileLayoutEx {
		return &types.VirtualMachineFileLayoutEx{File: []types.VirtualMachineFileLayoutExFileInfo{{Name: name, Type: kind}}}
	}
	base := func(change func(*types.VirtualDiskFlatVer2BackingInfo)) *disk {
		d := flatDisk(2000, 0, 0, "[ds] vm/a.vmdk", "a")
		if change != nil {
			change(d.Backing.(*types.VirtualDiskFlatVer2BackingInfo))
		}
		return disksOf([]types.BaseVirtualDevice{d})[0]
	}
	yes, extent := true, layout("[ds] vm/a-flat.vmdk", "diskExtent")
	for want, c := range map[string]struct {
		x *disk
		l *types.VirtualMachineFileLayoutEx
	}{
		"":                         {base(nil), extent},
		"no flat file of it (vSAN": {base(nil), layout("[ds] vm/a.vmdk", "diskDescriptor")},
		"shows no flat":            {base(nil), nil},
		"older snapshot's":         {base(func(b *types.VirtualDiskFlatVer2BackingInfo) { b.Parent = &types.VirtualDiskFlatVer2BackingInfo{} }), extent},
		"delta lies":               {base(func(b *types.VirtualDiskFlatVer2BackingInfo) { b.FileName = "[ds] vm/a-000001.vmdk" }), layout("[ds] vm/a-000001-flat.vmdk", "diskExtent")},
		"is no flat":               {base(func(b *types.VirtualDiskFlatVer2BackingInfo) { b.Split = &yes }), extent},
		"raw device":               {&disk{rdm: "virtualMode", flat: true, file: "[ds] vm/a.vmdk"}, extent},
	} {
		n := &snapshot{m: &machine{}}
		n.m.mo.LayoutEx = c.l
		if got := n.unflat(c.x); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
