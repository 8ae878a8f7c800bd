package vsphere

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// disk is one virtual disk of a machine, as a config has it.
type disk struct {
	key     string // the file's
	device  int32
	label   string
	size    int64
	place   string // controller and unit, as an export lease names it: ParaVirtualSCSIController0:1
	file    string // its backing: "[datastore] folder/name.vmdk"
	store   *types.ManagedObjectReference
	uuid    string
	change  string // its change id; empty: not tracked
	mode    string
	flat    bool // backed by a flat file
	delta   bool // on top of older ones
	rdm     string
	bus     types.VirtualSCSISharing
	multi   bool // more than one machine may write to it
	thin    bool
	crypted bool
}

// disksOf lists a config's disks. A disk's key is its own UUID, which stays with
// it when it is attached elsewhere; two of one UUID (a copied file keeps it) are
// told apart by where they are attached.
func disksOf(devices []types.BaseVirtualDevice) (all []*disk) {
	controllers, count := map[int32]types.BaseVirtualController{}, map[string]int{}
	for _, d := range devices {
		if c, ok := d.(types.BaseVirtualController); ok {
			controllers[c.GetVirtualController().Key] = c
		}
	}
	for _, d := range devices {
		if v, ok := d.(*types.VirtualDisk); ok {
			x := newDisk(v, controllers[v.ControllerKey])
			count[x.uuid]++
			all = append(all, x)
		}
	}
	for _, x := range all {
		switch {
		case x.uuid == "":
			x.key = fmt.Sprintf("disk-at-%d", x.device)
		case count[x.uuid] > 1:
			x.key = fmt.Sprintf("disk-%s-at-%d", x.uuid, x.device)
		default:
			x.key = "disk-" + x.uuid
		}
	}
	return all
}

func newDisk(v *types.VirtualDisk, c types.BaseVirtualController) *disk {
	x := &disk{device: v.Key, size: v.CapacityInBytes, label: fmt.Sprintf("disk %d", v.Key)}
	if x.size == 0 {
		x.size = v.CapacityInKB << 10
	}
	if v.DeviceInfo != nil && v.DeviceInfo.GetDescription().Label != "" {
		x.label = v.DeviceInfo.GetDescription().Label
	}
	if c != nil && v.UnitNumber != nil {
		x.place = fmt.Sprintf("%s%d:%d", reflect.TypeOf(c).Elem().Name(), c.GetVirtualController().BusNumber, *v.UnitNumber)
		if scsi, ok := c.(types.BaseVirtualSCSIController); ok {
			x.bus = scsi.GetVirtualSCSIController().SharedBus
		}
	}
	x.back(v.Backing)
	x.uuid = strings.ToLower(x.uuid)
	return x
}

// back takes in what a disk lies on.
func (x *disk) back(b types.BaseVirtualDeviceBackingInfo) {
	if f, ok := b.(types.BaseVirtualDeviceFileBackingInfo); ok {
		x.file, x.store = f.GetVirtualDeviceFileBackingInfo().FileName, f.GetVirtualDeviceFileBackingInfo().Datastore
	}
	switch b := b.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		x.uuid, x.change, x.mode = b.Uuid, b.ChangeId, b.DiskMode
		x.delta, x.crypted, x.multi = b.Parent != nil, b.KeyId != nil, shared(b.Sharing)
		x.thin = deref(b.ThinProvisioned, false)
		x.flat = b.DeltaDiskFormat == "" && (b.Split == nil || !*b.Split)
	case *types.VirtualDiskSeSparseBackingInfo:
		x.uuid, x.change, x.mode = b.Uuid, b.ChangeId, b.DiskMode
		x.delta, x.crypted = b.Parent != nil, b.KeyId != nil
	case *types.VirtualDiskSparseVer2BackingInfo:
		x.uuid, x.change, x.mode = b.Uuid, b.ChangeId, b.DiskMode
		x.delta, x.crypted = b.Parent != nil, b.KeyId != nil
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		x.uuid, x.change, x.mode, x.rdm = b.Uuid, b.ChangeId, b.DiskMode, b.CompatibilityMode
		x.delta, x.multi = b.Parent != nil, shared(b.Sharing)
	case *types.VirtualDiskLocalPMemBackingInfo:
		x.uuid, x.mode = b.Uuid, b.DiskMode
	}
}

func shared(s string) bool { return s != "" && s != string(types.VirtualDiskSharingSharingNone) }

func (x *disk) independent() bool { return strings.HasPrefix(x.mode, "independent") }

// barred says why a disk can't be in a backup at all, or nothing.
func (x *disk) barred() string {
	switch {
	case x.rdm == string(types.VirtualDiskCompatibilityModePhysicalMode):
		return "is a raw device mapping in physical mode, which no snapshot holds: use virtual mode or a VMDK, or the array's own backup"
	case x.independent():
		return "is independent, and so in no snapshot: make it dependent, or back up its content from within the guest"
	case x.bus != "" && x.bus != types.VirtualSCSISharingNoSharing:
		return "is on a controller with a shared bus, and so in no snapshot: back up its content from within the guest"
	case x.crypted:
		return "is encrypted, and the ways to read that Holdfast has give no plain bytes of it: back up its content from within the guest"
	}
	return ""
}
