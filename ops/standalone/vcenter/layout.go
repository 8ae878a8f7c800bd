package vcenter

import (
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// backing describes the chain of a layer as vCenter shows it.
func (d *disk) backing(l *layer, change string) types.BaseVirtualDeviceBackingInfo {
	file := types.VirtualDeviceFileBackingInfo{FileName: l.file.String()}
	switch d.kind {
	case modeRDM, modeRDMVirtual:
		b := &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: file, Uuid: d.uuid, ChangeId: change,
			LunUuid: "0200" + strings.ReplaceAll(d.uuid, "-", ""), DeviceName: "vml.0200" + d.uuid,
			CompatibilityMode: string(types.VirtualDiskCompatibilityModePhysicalMode), DiskMode: string(types.VirtualDiskModeIndependent_persistent)}
		if d.kind == modeRDMVirtual {
			b.CompatibilityMode, b.DiskMode = string(types.VirtualDiskCompatibilityModeVirtualMode), string(types.VirtualDiskModePersistent)
		}
		return b
	}
	return d.flat(l, change)
}

func (d *disk) flat(l *layer, change string) *types.VirtualDiskFlatVer2BackingInfo {
	b := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: l.file.String()},
		DiskMode:                     or(d.kind, string(types.VirtualDiskModePersistent)), ThinProvisioned: types.NewBool(true), Uuid: d.uuid, ChangeId: change,
		Sharing: string(types.VirtualDiskSharingSharingNone), Split: types.NewBool(false), WriteThrough: types.NewBool(false),
		DigestEnabled: types.NewBool(false), EagerlyScrub: types.NewBool(false),
	}
	if d.kind == modeShared {
		b.DiskMode, b.Sharing = string(types.VirtualDiskModePersistent), string(types.VirtualDiskSharingSharingMultiWriter)
	}
	if l.parent != nil {
		b.Parent, b.DeltaDiskFormat = d.flat(l.parent, ""), string(types.VirtualDiskDeltaDiskFormatSeSparseFormat)
	}
	return b
}

// live is the change id that the running machine shows.
func (d *disk) live() string {
	if d.track.id == "" {
		return ""
	}
	return changeID(d.track.id, d.track.gen)
}

// show brings what the vCenter says of the machine up to what its disks are: the
// backing of each device, here and in each snapshot, and the layout. The machine
// object's lock is held, m's is not.
func (v *VCenter) show(c *simulator.Context, m *machine, vm *simulator.VirtualMachine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	current := func(d *disk) (*layer, string) { return d.top, d.live() }
	c.Update(vm, []types.PropertyChange{
		{Name: "config.hardware.device", Val: v.devices(m, vm.Config.Hardware.Device, current)},
		{Name: "layoutEx", Val: v.layoutEx(m, vm)}, {Name: "layout", Val: v.layout(m, vm)},
		{Name: "runtime.consolidationNeeded", Val: m.needsConsolidation()},
	})
	for _, s := range m.snaps {
		obj, ok := v.model.Map().Get(s.ref).(*simulator.VirtualMachineSnapshot)
		if !ok {
			continue
		}
		then := func(d *disk) (*layer, string) {
			if f := s.frozen[d.key]; f != nil {
				return f.layer, f.change
			}
			return nil, ""
		}
		c.WithLock(obj, func() {
			c.Update(obj, []types.PropertyChange{{Name: "config.hardware.device", Val: v.devices(m, obj.Config.Hardware.Device, then)}})
		})
	}
}

// devices copies a list, with the disks on the layers that at names: others may
// be reading the list that stands.
func (v *VCenter) devices(m *machine, list []types.BaseVirtualDevice, at func(*disk) (*layer, string)) []types.BaseVirtualDevice {
	out := make([]types.BaseVirtualDevice, len(list))
	for i, dev := range list {
		out[i] = dev
		was, ok := dev.(*types.VirtualDisk)
		if !ok {
			continue
		}
		d := m.disk(was.Key)
		if d == nil {
			continue
		}
		d.mu.RLock()
		if l, change := at(d); l != nil {
			now := *was
			now.Backing = d.backing(l, change)
			v.stand(now.Backing)
			now.CapacityInBytes, now.CapacityInKB = l.size, l.size>>10
			out[i] = &now
		}
		d.mu.RUnlock()
	}
	return out
}

// stand says on which datastore each file of a backing is.
func (v *VCenter) stand(b types.BaseVirtualDeviceBackingInfo) {
	file, ok := b.(types.BaseVirtualDeviceFileBackingInfo)
	if !ok {
		return
	}
	info := file.GetVirtualDeviceFileBackingInfo()
	if ds := v.datastores[datastoreOf(info.FileName)]; ds != nil {
		info.Datastore = &ds.Self
	}
	if flat, ok := b.(*types.VirtualDiskFlatVer2BackingInfo); ok && flat.Parent != nil {
		v.stand(flat.Parent)
	}
}

func datastoreOf(file string) string {
	_, rest, _ := strings.Cut(file, "[")
	name, _, _ := strings.Cut(rest, "]")
	return name
}

// layoutEx lists every file of the machine and of which each disk's chain consists.
func (v *VCenter) layoutEx(m *machine, vm *simulator.VirtualMachine) types.VirtualMachineFileLayoutEx {
	lay := types.VirtualMachineFileLayoutEx{Timestamp: time.Now()}
	add := func(name string, kind types.VirtualMachineFileLayoutExFileType, size int64) int32 {
		key := int32(len(lay.File))
		lay.File = append(lay.File, types.VirtualMachineFileLayoutExFileInfo{Key: key, Name: name, Type: string(kind), Size: size,
			UniqueSize: size, Accessible: types.NewBool(true)})
		return key
	}
	home := dsPath(filepath.Base(filepath.Dir(m.dir)), filepath.Base(m.dir))
	for _, f := range []struct {
		ext  string
		kind types.VirtualMachineFileLayoutExFileType
	}{{".vmx", types.VirtualMachineFileLayoutExFileTypeConfig}, {".nvram", types.VirtualMachineFileLayoutExFileTypeNvram},
		{".vmsd", types.VirtualMachineFileLayoutExFileTypeSnapshotList}} {
		name := stem(vm) + f.ext
		if st, err := os.Stat(filepath.Join(m.dir, name)); err == nil {
			add(dsPath(home.Datastore, home.Path+"/"+name).String(), f.kind, st.Size())
		}
	}
	units := map[*layer]types.VirtualMachineFileLayoutExDiskUnit{}
	for _, d := range m.disks {
		d.mu.RLock()
		for _, l := range d.layers {
			ext := dsPath(l.file.Datastore, path.Join(path.Dir(l.file.Path), filepath.Base(l.data)))
			units[l] = types.VirtualMachineFileLayoutExDiskUnit{FileKey: []int32{
				add(l.file.String(), types.VirtualMachineFileLayoutExFileTypeDiskDescriptor, sector),
				add(ext.String(), types.VirtualMachineFileLayoutExFileTypeDiskExtent, int64(len(l.gens))*block),
			}}
		}
		lay.Disk = append(lay.Disk, types.VirtualMachineFileLayoutExDiskLayout{Key: d.key, Chain: chainOf(d.top, units)})
		d.mu.RUnlock()
	}
	for _, s := range m.snaps {
		one := types.VirtualMachineFileLayoutExSnapshotLayout{Key: s.ref, DataKey: -1, MemoryKey: -1}
		for _, d := range m.disks {
			if f := s.frozen[d.key]; f != nil {
				one.Disk = append(one.Disk, types.VirtualMachineFileLayoutExDiskLayout{Key: d.key, Chain: chainOf(f.layer, units)})
			}
		}
		lay.Snapshot = append(lay.Snapshot, one)
	}
	return lay
}

func chainOf(l *layer, units map[*layer]types.VirtualMachineFileLayoutExDiskUnit) (chain []types.VirtualMachineFileLayoutExDiskUnit) {
	for ; l != nil; l = l.parent {
		chain = append([]types.VirtualMachineFileLayoutExDiskUnit{units[l]}, chain...)
	}
	return chain
}

// layout is the older form of the same.
func (v *VCenter) layout(m *machine, vm *simulator.VirtualMachine) types.VirtualMachineFileLayout {
	lay := types.VirtualMachineFileLayout{}
	if vm.Layout != nil {
		lay.ConfigFile, lay.LogFile = vm.Layout.ConfigFile, vm.Layout.LogFile
	}
	for _, d := range m.disks {
		one := types.VirtualMachineFileLayoutDiskLayout{Key: d.key}
		d.mu.RLock()
		for l := d.top; l != nil; l = l.parent {
			one.DiskFile = append(one.DiskFile, l.file.String())
		}
		d.mu.RUnlock()
		lay.Disk = append(lay.Disk, one)
	}
	sort.Slice(lay.Disk, func(i, j int) bool { return lay.Disk[i].Key < lay.Disk[j].Key })
	return lay
}
