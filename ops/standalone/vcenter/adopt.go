package vcenter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CreateVMTask makes a machine of a client's spec.
func (x *folderX) CreateVMTask(c *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	ref := simulator.CreateTask(x.Folder, "createVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		m, fault := x.v.adopt(c, x.Folder, &req.Config, req.Pool, req.Host)
		if fault != nil {
			return nil, fault
		}
		return m.ref, nil
	}).Run(c)
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: ref}}
}

// homeOf is where a spec wants its files.
func (v *VCenter) homeOf(spec *types.VirtualMachineConfigSpec) string {
	var p object.DatastorePath
	if spec.Files != nil {
		p.FromString(spec.Files.VmPathName)
	}
	return filepath.Join(v.Dir, "datastores", p.Datastore, fileName(spec.Name))
}

// adopt makes a machine of a spec as a real vCenter would: a directory of its own,
// device keys by place, UUIDs that nobody else has.
func (v *VCenter) adopt(c *simulator.Context, f *simulator.Folder, spec *types.VirtualMachineConfigSpec, pool types.ManagedObjectReference,
	host *types.ManagedObjectReference) (*machine, types.BaseMethodFault) {
	if spec.Name == "" {
		return nil, &types.InvalidVmConfig{Property: "configSpec.name"}
	}
	var twin mo.Entity
	c.WithLock(f, func() { twin = v.model.Map().FindByName(escape(spec.Name), f.ChildEntity) })
	if twin != nil {
		return nil, &types.DuplicateName{Name: spec.Name, Object: twin.Reference()}
	}
	home := v.homeOf(spec)
	ds := filepath.Base(filepath.Dir(home))
	if v.datastores[ds] == nil {
		return nil, &types.InvalidDatastorePath{DatastorePath: home}
	}
	if spec.InstanceUuid == "" || v.has(spec.InstanceUuid) {
		spec.InstanceUuid = uuid.NewString()
	}
	spec.Uuid = or(spec.Uuid, uuid.NewString())
	m := &machine{id: spec.InstanceUuid, marks: filepath.Join(v.Dir, "machines", spec.InstanceUuid)}
	m.spec = Machine{ID: m.id, Name: spec.Name, Datastore: ds, Firmware: spec.Firmware, Version: spec.Version, Tools: "none"}
	m.asked = spec.ChangeTrackingEnabled != nil && *spec.ChangeTrackingEnabled
	err := os.MkdirAll(m.marks, 0o700)
	if err == nil {
		m.dir, err = v.claim(ds, fileName(spec.Name))
	}
	if err != nil {
		return nil, &types.CannotCreateFile{FileFault: types.FileFault{File: home}}
	}
	spec.Files = &types.VirtualMachineFileInfo{VmPathName: dsPath(ds, filepath.Base(m.dir)+"/"+fileName(spec.Name)+".vmx").String()}
	if fault := v.settleDevices(m, spec.DeviceChange, nil); fault != nil {
		return nil, fault
	}
	ref, fault := v.create(c, f, spec, pool, host)
	if fault != nil {
		return nil, fault
	}
	m.ref = ref
	v.finish(c, m)
	return m, nil
}

// finish makes an adopted machine known as it now stands.
func (v *VCenter) finish(c *simulator.Context, m *machine) {
	vm := v.vm(m.ref)
	c.WithLock(vm, func() {
		m.spec.Host = v.hostOf(vm)
		m.call(unescape(vm.Name))
		m.spec.Folder = v.pathOf(vm.Parent)
		c.Update(vm, guestProps(m.spec))
		if err := v.nvram(m, vm); err != nil {
			v.Log.Error("make NVRAM", "machine", m.id, "error", err)
		}
		v.register(m)
		v.show(c, m, vm)
	})
	v.keepOrLog(m)
}

// pathOf is the path of a folder that was made here; of another it is unknown.
func (v *VCenter) pathOf(ref *types.ManagedObjectReference) string {
	v.making.Lock()
	defer v.making.Unlock()
	for path, f := range v.folders {
		if ref != nil && f == *ref {
			return path
		}
	}
	return ""
}

func (v *VCenter) has(id string) bool {
	_, err := v.machine(id)
	return err == nil
}

// settleDevices gives new devices the keys that real ones have, and makes the
// files of new disks: the simulator then only attaches them.
func (v *VCenter) settleDevices(m *machine, changes []types.BaseVirtualDeviceConfigSpec, have []types.BaseVirtualDevice) types.BaseMethodFault {
	keys := rekeyControllers(changes)
	for _, ch := range changes {
		spec := ch.GetVirtualDeviceConfigSpec()
		dev := spec.Device.GetVirtualDevice()
		if spec.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		if k, ok := keys[dev.ControllerKey]; ok {
			dev.ControllerKey = k
		}
		d, ok := spec.Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		if dev.UnitNumber == nil {
			dev.UnitNumber = freeUnit(dev.ControllerKey, changes, have)
		}
		dev.Key = diskKeyAt(dev.ControllerKey, *dev.UnitNumber)
		if fault := v.attach(m, spec, d); fault != nil {
			return fault
		}
	}
	return nil
}

// attach makes the record and the files of a disk that a client adds.
func (v *VCenter) attach(m *machine, spec *types.VirtualDeviceConfigSpec, d *types.VirtualDisk) types.BaseMethodFault {
	size := or(d.CapacityInBytes, d.CapacityInKB<<10)
	b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if ok && spec.FileOperation == "" {
		return v.reattach(m, d, b)
	}
	if !ok || size <= 0 {
		return &types.InvalidDeviceSpec{InvalidVmConfig: types.InvalidVmConfig{Property: "VirtualDeviceSpec.device.backing"}}
	}
	datastore := datastoreOf(b.FileName)
	if datastore != "" && v.datastores[datastore] == nil {
		return &types.InvalidDatastorePath{DatastorePath: b.FileName}
	}
	made, err := v.makeDisk(m, datastore, len(m.disks)+m.gone, size)
	if err != nil {
		return &types.CannotCreateFile{FileFault: types.FileFault{File: m.dir}}
	}
	made.key, made.uuid = d.Key, or(b.Uuid, made.uuid)
	if b.DiskMode != string(types.VirtualDiskModePersistent) {
		made.kind = b.DiskMode
	}
	if b.Sharing == string(types.VirtualDiskSharingSharingMultiWriter) {
		made.kind = modeShared
	}
	m.disks = append(m.disks, made)
	d.CapacityInBytes, d.CapacityInKB = size, size>>10
	d.Backing = made.backing(made.top, "")
	spec.FileOperation = ""
	return nil
}

// reattach gives the machine a disk that was detached from it or from another.
// What is known of its blocks goes with it; its tracking does not.
func (v *VCenter) reattach(m *machine, d *types.VirtualDisk, b *types.VirtualDiskFlatVer2BackingInfo) types.BaseMethodFault {
	v.mu.Lock()
	had := v.loose[b.FileName]
	delete(v.loose, b.FileName)
	v.mu.Unlock()
	if had == nil {
		return &types.FileNotFound{FileFault: types.FileFault{File: b.FileName}}
	}
	had.mu.Lock()
	defer had.mu.Unlock()
	had.key, had.marks, had.track.id = d.Key, m.marks, ""
	for i, l := range had.layers {
		to := filepath.Join(m.marks, fmt.Sprintf("%s-%d-%d", filepath.Base(l.index), d.Key, i))
		if err := os.Rename(l.index, to); err != nil && !os.IsNotExist(err) {
			return &types.CannotAccessFile{FileFault: types.FileFault{File: b.FileName}}
		}
		l.index = to
		if l.image != nil && filepath.Dir(l.image.path) != m.marks {
			if err := v.carry(l, filepath.Join(m.marks, filepath.Base(to)+".image")); err != nil {
				return &types.CannotAccessFile{FileFault: types.FileFault{File: b.FileName}}
			}
		}
	}
	m.disks = append(m.disks, had)
	d.CapacityInBytes, d.CapacityInKB = had.top.size, had.top.size>>10
	d.Backing = had.backing(had.top, "")
	return nil
}

// carry takes the content that a disk was made with along, if it is a copy that
// lives with the machine that it leaves.
func (v *VCenter) carry(l *layer, to string) error {
	if !strings.HasPrefix(l.image.path, filepath.Join(v.Dir, "machines")+string(filepath.Separator)) {
		return nil
	}
	if err := os.Rename(l.image.path, to); err != nil {
		return err
	}
	l.image = v.share(to, l.image.size)
	return nil
}

// rekeyControllers gives new controllers their keys by kind and bus; it returns
// what each was called before.
func rekeyControllers(changes []types.BaseVirtualDeviceConfigSpec) map[int32]int32 {
	keys := map[int32]int32{}
	for _, ch := range changes {
		spec := ch.GetVirtualDeviceConfigSpec()
		ctl, ok := spec.Device.(types.BaseVirtualController)
		if !ok || spec.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		var base int32
		switch spec.Device.(type) {
		case types.BaseVirtualSCSIController:
			base = 1000
		case types.BaseVirtualSATAController:
			base = 15000
		case *types.VirtualNVMEController:
			base = 31000
		default:
			continue
		}
		c := ctl.GetVirtualController()
		keys[c.Key] = base + c.BusNumber
		c.Key, c.ControllerKey = base+c.BusNumber, 100
	}
	return keys
}

// diskKeyAt is the key of the disk at a unit of a controller.
func diskKeyAt(ctl, unit int32) int32 {
	switch {
	case ctl >= 31000:
		return 32000 + 64*(ctl-31000) + unit
	case ctl >= 15000:
		return 16000 + 30*(ctl-15000) + unit
	case ctl >= 1000:
		return 2000 + 16*(ctl-1000) + unit
	}
	return 3000 + 2*(ctl-200) + unit
}

func freeUnit(ctl int32, changes []types.BaseVirtualDeviceConfigSpec, have []types.BaseVirtualDevice) *int32 {
	taken := map[int32]bool{7: ctl >= 1000 && ctl < 15000}
	note := func(d *types.VirtualDevice) {
		if d.ControllerKey == ctl && d.UnitNumber != nil {
			taken[*d.UnitNumber] = true
		}
	}
	for _, d := range have {
		note(d.GetVirtualDevice())
	}
	for _, ch := range changes {
		note(ch.GetVirtualDeviceConfigSpec().Device.GetVirtualDevice())
	}
	unit := int32(0)
	for taken[unit] {
		unit++
	}
	return &unit
}

func unescape(name string) string {
	for _, c := range []struct{ from, to string }{{"%2f", "/"}, {"%5c", `\`}, {"%25", "%"}} {
		name = strings.ReplaceAll(name, c.from, c.to)
	}
	return name
}
