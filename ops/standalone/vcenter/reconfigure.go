package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ReconfigVMTask: what becomes of disks and of their tracking is ours, the rest
// the simulator's.
func (x *vmX) ReconfigVMTask(c *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	ref := simulator.CreateTask(x.VirtualMachine, "reconfigVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "ReconfigVM_Task", false); fault != nil {
			return nil, fault
		}
		if x.m.taken() {
			return nil, &types.TaskInProgress{}
		}
		return nil, x.reconfigure(c, req)
	}).Run(c)
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: ref}}
}

func (x *vmX) reconfigure(c *simulator.Context, req *types.ReconfigVM_Task) types.BaseMethodFault {
	x.m.mu.Lock()
	fault := x.v.settleDevices(x.m, req.Spec.DeviceChange, x.Config.Hardware.Device)
	grown := map[*disk]int64{}
	gone := map[int32]bool{} // key: with its files
	for _, ch := range req.Spec.DeviceChange {
		if fault == nil {
			fault = x.m.editDisk(ch.GetVirtualDeviceConfigSpec(), grown, gone)
		}
	}
	x.m.mu.Unlock()
	if fault != nil {
		return fault
	}
	res := x.VirtualMachine.ReconfigVMTask(c, req).(*methods.ReconfigVM_TaskBody).Res.Returnval
	if _, fault := await(c, res); fault != nil {
		return fault
	}
	x.m.mu.Lock()
	if t := req.Spec.ChangeTrackingEnabled; t != nil {
		x.m.asked = *t
		if !*t {
			x.m.settle()
		}
	}
	if req.Spec.Name != "" {
		x.m.call(req.Spec.Name)
	}
	for d, size := range grown {
		d.mu.Lock()
		d.top.size = size
		d.mu.Unlock()
	}
	x.v.dropDisks(x.m, gone)
	x.m.mu.Unlock()
	x.v.reindex(x.m)
	x.v.show(c, x.m, x.VirtualMachine)
	x.v.keepOrLog(x.m)
	return nil
}

// editDisk looks at one change of a disk that is there. m's lock is held.
func (m *machine) editDisk(spec *types.VirtualDeviceConfigSpec, grown map[*disk]int64, gone map[int32]bool) types.BaseMethodFault {
	one, ok := spec.Device.(*types.VirtualDisk)
	if !ok || spec.Operation == types.VirtualDeviceConfigSpecOperationAdd {
		return nil
	}
	d := m.disk(one.Key)
	if d == nil {
		return &types.InvalidDeviceSpec{InvalidVmConfig: types.InvalidVmConfig{Property: "VirtualDeviceSpec.device.key"}}
	}
	if spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
		if len(m.snaps) > 0 {
			return generic("A disk cannot be removed while the virtual machine has snapshots.")
		}
		gone[one.Key] = spec.FileOperation == types.VirtualDeviceConfigSpecFileOperationDestroy
		spec.FileOperation = "" // the files are ours to delete
		return nil
	}
	size := max(one.CapacityInBytes, one.CapacityInKB<<10)
	now := d.size()
	switch {
	case size < now:
		return &types.InvalidDeviceOperation{}
	case size == now:
		return nil
	case len(m.snaps) > 0:
		return generic("The disk cannot be extended while the virtual machine has snapshots.")
	}
	one.CapacityInBytes, one.CapacityInKB = size, size>>10
	grown[d] = size
	return nil
}

// dropDisks detaches disks; one whose files stay can be attached again. m's lock
// is held.
func (v *VCenter) dropDisks(m *machine, gone map[int32]bool) {
	var left []*disk
	for _, d := range m.disks {
		files, ok := gone[d.key]
		if !ok {
			left = append(left, d)
			continue
		}
		m.gone++
		if !files {
			v.mu.Lock()
			v.loose[d.top.file.String()] = d
			v.mu.Unlock()
			continue
		}
		for _, l := range d.layers {
			if err := l.remove(); err != nil {
				v.Log.Error("delete a disk", "machine", m.id, "disk", d.key, "error", err)
			}
		}
	}
	m.disks = left
}

// leased refuses what a lease on the whole machine forbids.
func (x *vmX) leased() *soap.Fault {
	if x.m.taken() {
		return simulator.Fault("The method is disabled by a lease.", &types.MethodDisabled{})
	}
	return nil
}

// PowerOnVMTask is a stun, too.
func (x *vmX) PowerOnVMTask(c *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	if f := x.leased(); f != nil {
		return &methods.PowerOnVM_TaskBody{Fault_: f}
	}
	ref := simulator.CreateTask(x.VirtualMachine, "powerOn", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		res := x.VirtualMachine.PowerOnVMTask(c, req).(*methods.PowerOnVM_TaskBody).Res.Returnval
		return x.powered(c, res, true)
	}).Run(c)
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: ref}}
}

// PowerOffVMTask stops the guest's tools with it.
func (x *vmX) PowerOffVMTask(c *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	ref := simulator.CreateTask(x.VirtualMachine, "powerOff", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		res := x.VirtualMachine.PowerOffVMTask(c, req).(*methods.PowerOffVM_TaskBody).Res.Returnval
		return x.powered(c, res, false)
	}).Run(c)
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: ref}}
}

func (x *vmX) powered(c *simulator.Context, task types.ManagedObjectReference, on bool) (types.AnyType, types.BaseMethodFault) {
	val, fault := await(c, task)
	if fault != nil {
		return nil, fault
	}
	x.m.mu.Lock()
	x.m.spec.On = on
	if on {
		x.m.settle()
	}
	props := guestProps(x.m.spec)
	x.m.mu.Unlock()
	c.Update(x.VirtualMachine, props)
	x.v.show(c, x.m, x.VirtualMachine)
	x.v.keepOrLog(x.m)
	return val, nil
}

// RelocateVMTask moves the machine, not its files: the demo's datastores are one disk.
func (x *vmX) RelocateVMTask(c *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	if f := x.leased(); f != nil {
		return &methods.RelocateVM_TaskBody{Fault_: f}
	}
	return x.VirtualMachine.RelocateVMTask(c, req)
}

// RenameTask renames the machine; its files keep their names, as in reality.
func (x *vmX) RenameTask(c *simulator.Context, req *types.Rename_Task) soap.HasFault {
	res := x.VirtualMachine.RenameTask(c, req)
	if res.Fault() == nil {
		x.m.mu.Lock()
		x.m.call(unescape(req.NewName))
		x.m.mu.Unlock()
		x.v.keepOrLog(x.m)
	}
	return res
}

// UnregisterVM takes the machine out of the inventory; its files stay.
func (x *vmX) UnregisterVM(c *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	if f := x.leased(); f != nil {
		return &methods.UnregisterVMBody{Fault_: f}
	}
	res := x.VirtualMachine.UnregisterVM(c, req)
	if res.Fault() == nil {
		x.v.forget(x.m)
	}
	return res
}

// DestroyTask deletes the machine and all its files.
func (x *vmX) DestroyTask(c *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	if f := x.leased(); f != nil {
		return &methods.Destroy_TaskBody{Fault_: f}
	}
	ref := simulator.CreateTask(x.VirtualMachine, "destroy", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "Destroy_Task", false); fault != nil {
			return nil, fault
		}
		// The simulator deletes the whole folder of the log, with disks that are others' by now.
		c.Update(x.VirtualMachine, []types.PropertyChange{{Name: "config.files.logDirectory", Val: dsPath(x.m.datastore(), "none").String()}})
		res := x.VirtualMachine.DestroyTask(c, req).(*methods.Destroy_TaskBody).Res.Returnval
		if _, fault := await(c, res); fault != nil {
			return nil, fault
		}
		x.v.forget(x.m)
		return nil, x.v.erase(x.m)
	}).Run(c)
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: ref}}
}
