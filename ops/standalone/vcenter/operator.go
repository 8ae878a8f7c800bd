package vcenter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Machines are the instance UUIDs of those that there are.
func (v *VCenter) Machines() (ids []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.machines {
		ids = append(ids, m.id)
	}
	slices.Sort(ids)
	return ids
}

// act does one thing to a machine as its operator would, and waits for its task.
func (v *VCenter) act(id, what string, f func(*simulator.Context, *vmX) (types.ManagedObjectReference, *soap.Fault)) error {
	m, err := v.machine(id)
	if err != nil {
		return err
	}
	vm := v.vm(m.ref)
	if vm == nil {
		return fmt.Errorf("%s %s: it is gone", what, id)
	}
	c := v.ctx()
	var task types.ManagedObjectReference
	var fault *soap.Fault
	c.WithLock(vm, func() { task, fault = f(c, &vmX{vm, v, m}) })
	if fault != nil {
		return fmt.Errorf("%s %s: %T %s", what, m.name(), fault.VimFault(), fault.String)
	}
	if task.Value == "" {
		return nil
	}
	if _, fault := await(c, task); fault != nil {
		return fmt.Errorf("%s %s: %T", what, m.name(), fault)
	}
	return nil
}

// PowerOff turns the machine off at once.
func (v *VCenter) PowerOff(id string) error {
	return v.act(id, "power off", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		res := x.PowerOffVMTask(c, &types.PowerOffVM_Task{This: x.Self}).(*methods.PowerOffVM_TaskBody)
		return ref(res.Res, res.Fault_)
	})
}

// PowerOn turns it on.
func (v *VCenter) PowerOn(id string) error {
	return v.act(id, "power on", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		res := x.PowerOnVMTask(c, &types.PowerOnVM_Task{This: x.Self}).(*methods.PowerOnVM_TaskBody)
		if res.Fault_ != nil {
			return types.ManagedObjectReference{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

func ref(res *types.PowerOffVM_TaskResponse, f *soap.Fault) (types.ManagedObjectReference, *soap.Fault) {
	if f != nil {
		return types.ManagedObjectReference{}, f
	}
	return res.Returnval, nil
}

// Destroy deletes the machine and its files; one that runs is turned off first.
func (v *VCenter) Destroy(id string) error {
	m, err := v.machine(id)
	if err != nil {
		return err
	}
	if vm := v.vm(m.ref); vm != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		if err := v.PowerOff(id); err != nil {
			return err
		}
	}
	return v.act(id, "destroy", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		res := x.DestroyTask(c, &types.Destroy_Task{This: x.Self}).(*methods.Destroy_TaskBody)
		if res.Fault_ != nil {
			return types.ManagedObjectReference{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

// Rename gives the machine another name.
func (v *VCenter) Rename(id, name string) error {
	return v.act(id, "rename", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		res := x.RenameTask(c, &types.Rename_Task{This: x.Self, NewName: name}).(*methods.Rename_TaskBody)
		if res.Fault_ != nil {
			return types.ManagedObjectReference{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

// Move puts the machine into another folder, made if it is not there.
func (v *VCenter) Move(id, folder string) error {
	m, err := v.machine(id)
	if err != nil {
		return err
	}
	f, err := v.folderFor(folder)
	if err != nil {
		return fmt.Errorf("move %s: %w", m.name(), err)
	}
	c := v.ctx()
	var task types.ManagedObjectReference
	c.WithLock(f, func() {
		task = f.MoveIntoFolderTask(c, &types.MoveIntoFolder_Task{This: f.Self, List: []types.ManagedObjectReference{m.ref}}).(*methods.MoveIntoFolder_TaskBody).Res.Returnval
	})
	if _, fault := await(c, task); fault != nil {
		return fmt.Errorf("move %s: %T", m.name(), fault)
	}
	m.mu.Lock()
	m.spec.Folder = folder
	m.mu.Unlock()
	return v.keep(m)
}

// Snapshot takes one, as a person would.
func (v *VCenter) Snapshot(id, name string) error {
	return v.act(id, "snapshot", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		res := x.CreateSnapshotTask(c, &types.CreateSnapshot_Task{This: x.Self, Name: name}).(*methods.CreateSnapshot_TaskBody)
		if res.Fault_ != nil {
			return types.ManagedObjectReference{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

// AddDisk gives the machine one more disk, empty.
func (v *VCenter) AddDisk(id string, size int64) error {
	return v.act(id, "add a disk to", func(c *simulator.Context, x *vmX) (types.ManagedObjectReference, *soap.Fault) {
		spec := types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
			Device: &types.VirtualDisk{CapacityInBytes: size, VirtualDevice: types.VirtualDevice{ControllerKey: 1000,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: string(types.VirtualDiskModePersistent)}}}}}}
		res := x.ReconfigVMTask(c, &types.ReconfigVM_Task{This: x.Self, Spec: spec}).(*methods.ReconfigVM_TaskBody)
		return res.Res.Returnval, nil
	})
}

// Reset begins the machine's changed block tracking anew at once, as a host does
// that lost its tracking file.
func (v *VCenter) Reset(id string) error {
	m, err := v.machine(id)
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.active {
		m.track()
	}
	m.mu.Unlock()
	return v.keep(m)
}

// forget drops a machine's record.
func (v *VCenter) forget(m *machine) {
	v.mu.Lock()
	delete(v.machines, m.ref)
	for p, e := range v.files {
		if e.m == m {
			delete(v.files, p)
		}
	}
	v.mu.Unlock()
	m.forgetAll(v)
}

// reborn reports whether another machine has m's id by now, and so its folder: one that
// is imported again where its lease died is not the one that is being deleted.
func (v *VCenter) reborn(m *machine) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, o := range v.machines {
		if o != m && o.marks == m.marks {
			return true
		}
	}
	return false
}

// erase deletes a machine's files and its state. What another machine has
// attached by now stays, and so does its folder.
func (v *VCenter) erase(m *machine) types.BaseMethodFault {
	var errs []error
	for _, d := range m.disks {
		for _, l := range d.layers {
			errs = append(errs, l.remove())
			_ = os.Remove(filepath.Dir(l.data)) // it fails if it is not empty, as it should
		}
	}
	files, err := os.ReadDir(m.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".vmdk" {
			errs = append(errs, os.Remove(filepath.Join(m.dir, f.Name())))
		}
	}
	_ = os.Remove(m.dir)
	if !v.reborn(m) {
		errs = append(errs, os.RemoveAll(m.marks))
	}
	if err := errors.Join(errs...); err != nil {
		v.Log.Error("delete the files of a machine", "machine", m.id, "error", err)
		return &types.CannotDeleteFile{FileFault: types.FileFault{File: m.dir}}
	}
	return nil
}
