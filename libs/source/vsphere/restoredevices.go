package vsphere

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// devices are what the machine is made of, beside what every machine has.
func (p *plan) devices() (all []types.BaseVirtualDeviceConfigSpec) {
	add := func(d types.BaseVirtualDevice, op types.VirtualDeviceConfigSpecFileOperation) {
		v := d.GetVirtualDevice()
		v.DeviceInfo = nil
		all = append(all, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: op, Device: d})
	}
	disks := disksOf(p.t.Config.Hardware.Device)
	for _, d := range p.t.Config.Hardware.Device {
		label := labelOf(d)
		switch d := d.(type) {
		case *types.VirtualPCIController, *types.VirtualIDEController, *types.VirtualPS2Controller, *types.VirtualSIOController,
			*types.VirtualKeyboard, *types.VirtualPointingDevice, *types.VirtualMachineVMCIDevice, *types.VirtualMachineVideoCard:
			// a vCenter makes them with the machine, under the same keys
		case *types.VirtualDisk:
			if x := p.disk(d, disks); x != nil {
				add(x, types.VirtualDeviceConfigSpecFileOperationCreate)
			}
		case types.BaseVirtualEthernetCard:
			if p.card(d) {
				add(d.(types.BaseVirtualDevice), "")
			}
		case *types.VirtualCdrom:
			p.emptyDrive(d, label)
			add(d, "")
		case types.BaseVirtualController:
			d.GetVirtualController().Device = nil
			add(d.(types.BaseVirtualDevice), "")
		case types.BaseVirtualSoundCard:
			add(d.(types.BaseVirtualDevice), "")
		default:
			// A device of a host, a file or a person's desk: that it is the same here is
			// nobody's promise, and one that is missing keeps the machine from starting.
			p.warn("%s (%T) is not restored: add it again if it is needed", label, d)
		}
	}
	slices.SortFunc(p.disks, func(a, b *disk) int { return int(a.device) - int(b.device) })
	return all
}

func labelOf(d types.BaseVirtualDevice) string {
	v := d.GetVirtualDevice()
	if v.DeviceInfo != nil && v.DeviceInfo.GetDescription().Label != "" {
		return v.DeviceInfo.GetDescription().Label
	}
	return fmt.Sprintf("device %d", v.Key)
}

// disk describes a new disk in the place of an old one. nil: its bytes are not in
// the point.
func (p *plan) disk(d *types.VirtualDisk, disks []*disk) *types.VirtualDisk {
	i := slices.IndexFunc(disks, func(x *disk) bool { return x.device == d.Key })
	x := disks[i]
	f, ok := p.files[x.key]
	if !ok {
		p.warn("disk %q is not in the point, and is not restored", x.label)
		return nil
	}
	if x.rdm != "" {
		p.warn("disk %q was a raw device mapping, and is restored as a file", x.label)
	}
	x.size = f.Size
	p.disks = append(p.disks, x)
	b := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: string(types.VirtualDiskModePersistent)}
	thin := x.thin
	b.ThinProvisioned, b.FileName = &thin, p.store(x)
	if x.multi {
		p.warn("disk %q was shared between machines, and is restored for this one alone", x.label)
	}
	if p.kept {
		b.Uuid = x.uuid
	}
	made := &types.VirtualDisk{VirtualDevice: d.VirtualDevice, CapacityInBytes: x.size, CapacityInKB: x.size >> 10,
		Shares: d.Shares, StorageIOAllocation: d.StorageIOAllocation}
	made.Backing = b
	return made
}

// store is the datastore of a disk: its own, if that is here and nobody named another.
func (p *plan) store(x *disk) string {
	was, err := datastorePath(x.file)
	if p.at.moved || err != nil || !p.at.stores[was.Datastore] {
		if err == nil && !p.at.moved && was.Datastore != p.at.store {
			p.warn("disk %q was on datastore %q, which is not here: it is on %q", x.label, was.Datastore, p.at.store)
		}
		was.Datastore = p.at.store
	}
	return (&object.DatastorePath{Datastore: was.Datastore}).String()
}

// card puts a network card on the network that its own is here.
func (p *plan) card(d types.BaseVirtualEthernetCard) bool {
	e := d.GetVirtualEthernetCard()
	i := slices.IndexFunc(p.t.Networks, func(n Network) bool { return n.Device == e.Key })
	if i < 0 {
		p.warn("network card %d has no network in %s, and is not restored", e.Key, keySettings)
		return false
	}
	n := p.t.Networks[i]
	b := p.backings[n.Network]
	if b == nil {
		p.warn("%s can be on no network of the kind that %q is, and is not restored", n.Label, n.Network)
		return false
	}
	e.Backing, e.ExternalId, e.SubnetId = b, "", ""
	if c := e.Connectable; c != nil {
		c.Connected, c.Status = false, ""
	}
	if !p.kept {
		e.AddressType, e.MacAddress = string(types.VirtualEthernetCardMacTypeGenerated), ""
	}
	return true
}

// emptyDrive takes the disc out: the file may not be here, and the machine would
// not start.
func (p *plan) emptyDrive(d *types.VirtualCdrom, label string) {
	if iso, ok := d.Backing.(*types.VirtualCdromIsoBackingInfo); ok {
		p.warn("%s held %s, and is empty", label, iso.FileName)
	}
	d.Backing = &types.VirtualCdromRemotePassthroughBackingInfo{}
	d.Connectable = &types.VirtualDeviceConnectInfo{AllowGuestControl: true}
}
