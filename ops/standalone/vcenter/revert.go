package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// RevertToSnapshotTask takes the machine back; tracking begins anew, for what
// was written since is no longer true.
func (x *snapX) RevertToSnapshotTask(c *simulator.Context, req *types.RevertToSnapshot_Task) soap.HasFault {
	ref := simulator.CreateTask(x.Vm, "revertToSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "RevertToSnapshot_Task", false); fault != nil {
			return nil, fault
		}
		res := x.VirtualMachineSnapshot.RevertToSnapshotTask(c, req).(*methods.RevertToSnapshot_TaskBody).Res.Returnval
		if _, fault := await(c, res); fault != nil {
			return nil, fault
		}
		return nil, x.v.revert(c, x.m, req.This)
	}).Run(c)
	return &methods.RevertToSnapshot_TaskBody{Res: &types.RevertToSnapshot_TaskResponse{Returnval: ref}}
}

// RevertToCurrentSnapshotTask is the same for the snapshot that it runs on.
func (x *vmX) RevertToCurrentSnapshotTask(c *simulator.Context, req *types.RevertToCurrentSnapshot_Task) soap.HasFault {
	x.m.mu.Lock()
	current := x.m.current
	x.m.mu.Unlock()
	if current == nil {
		return &methods.RevertToCurrentSnapshot_TaskBody{Fault_: simulator.Fault("snapshot not found", &types.NotFound{})}
	}
	ref := simulator.CreateTask(x.VirtualMachine, "revertToCurrentSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, x.v.revert(c, x.m, current.ref)
	}).Run(c)
	return &methods.RevertToCurrentSnapshot_TaskBody{Res: &types.RevertToCurrentSnapshot_TaskResponse{Returnval: ref}}
}

// revert lets each disk go on from a snapshot, on a new delta. A snapshot has no
// memory here, so the machine is off after.
func (v *VCenter) revert(c *simulator.Context, m *machine, ref types.ManagedObjectReference) types.BaseMethodFault {
	m.mu.Lock()
	var at *snapshot
	for _, s := range m.snaps {
		if s.ref == ref {
			at = s
		}
	}
	if at == nil {
		m.mu.Unlock()
		return &types.NotFound{}
	}
	m.current = at
	m.spec.On = false
	for _, d := range m.disks {
		f := at.frozen[d.key]
		if f == nil {
			continue
		}
		if err := d.branch(f.layer); err != nil {
			m.mu.Unlock()
			v.Log.Error("revert", "machine", m.id, "disk", d.key, "error", err)
			return &types.FileFault{File: f.layer.file.String()}
		}
	}
	if m.active {
		m.track()
	}
	props := append(guestProps(m.spec), powerProps(types.VirtualMachinePowerStatePoweredOff)...)
	m.mu.Unlock()
	c.Update(v.vm(m.ref), props)
	return v.merge(c, m, true)
}

// branch puts the guest on a new delta of a frozen layer.
func (d *disk) branch(under *layer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next, err := d.delta(under)
	if err != nil {
		return err
	}
	d.top = next
	d.track.gen++
	return nil
}
