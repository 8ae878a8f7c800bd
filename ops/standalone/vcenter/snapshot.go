package vcenter

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// snapshot is one of a machine: each of its disks that can be frozen, frozen.
type snapshot struct {
	ref      types.ManagedObjectReference
	name     string
	desc     string
	quiesced bool
	made     time.Time
	parent   *snapshot
	frozen   map[int32]*frozen
}

func (x *vmX) CreateSnapshotTask(c *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	r := &types.CreateSnapshotEx_Task{This: req.This, Name: req.Name, Description: req.Description, Memory: req.Memory}
	if req.Quiesce {
		r.QuiesceSpec = &types.VirtualMachineGuestQuiesceSpec{}
	}
	ref, fault := x.createSnapshot(c, r, "CreateSnapshot_Task")
	if fault != nil {
		return &methods.CreateSnapshot_TaskBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.CreateSnapshot_TaskBody{Res: &types.CreateSnapshot_TaskResponse{Returnval: ref}}
}

func (x *vmX) CreateSnapshotExTask(c *simulator.Context, req *types.CreateSnapshotEx_Task) soap.HasFault {
	ref, fault := x.createSnapshot(c, req, "CreateSnapshotEx_Task")
	if fault != nil {
		return &methods.CreateSnapshotEx_TaskBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.CreateSnapshotEx_TaskBody{Res: &types.CreateSnapshotEx_TaskResponse{Returnval: ref}}
}

func (x *vmX) createSnapshot(c *simulator.Context, req *types.CreateSnapshotEx_Task, method string) (types.ManagedObjectReference, types.BaseMethodFault) {
	if req.QuiesceSpec != nil {
		if _, ok := strike(x.v, x.m, func(f QuiesceFails) bool { return f.Call }); ok {
			return types.ManagedObjectReference{}, &types.ApplicationQuiesceFault{}
		}
	}
	return simulator.CreateTask(x.VirtualMachine, "createSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.mayNotSnap(x.m, x.VirtualMachine, req.QuiesceSpec != nil, method); fault != nil {
			return nil, fault
		}
		ref, fault := x.v.snap(c, x.m, x.VirtualMachine, req)
		if fault != nil {
			return nil, fault
		}
		if _, ok := strike(x.v, x.m, func(f SnapshotGhost) bool { return !f.Call }); ok {
			return nil, &types.Timedout{}
		}
		return ref, nil
	}).Run(c), nil
}

// mayNotSnap is why a snapshot fails before it begins.
func (v *VCenter) mayNotSnap(m *machine, vm *simulator.VirtualMachine, quiesce bool, method string) types.BaseMethodFault {
	if fault := v.failing(m, method, false); fault != nil {
		return fault
	}
	if _, ok := strike(v, m, func(f QuiesceFails) bool { return quiesce && !f.Call }); ok {
		return &types.ApplicationQuiesceFault{}
	}
	if fault := v.full(m); fault != nil {
		return fault
	}
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	switch {
	case m.spec.SharedBus && on:
		return generic("The virtual machine is configured to use a device that prevents the operation: Device 'SCSI controller 0' is a SCSI controller engaged in bus-sharing.")
	case m.spec.Passthrough && on:
		return generic("The virtual machine is configured to use a device that prevents the operation: Device 'PCI device 0' is a DirectPath I/O device.")
	}
	return nil
}

// full is NoDiskSpace if the machine's datastore is.
func (v *VCenter) full(m *machine) types.BaseMethodFault {
	if _, ok := strike[DatastoreFull](v, m, nil); ok {
		return &types.NoDiskSpace{FileFault: types.FileFault{File: "[" + m.datastore() + "]"}, Datastore: m.datastore()}
	}
	return nil
}

// snap freezes the machine's disks and makes the snapshot known. The machine
// object is locked.
func (v *VCenter) snap(c *simulator.Context, m *machine, vm *simulator.VirtualMachine, req *types.CreateSnapshotEx_Task) (ref types.ManagedObjectReference, fault types.BaseMethodFault) {
	s := &snapshot{name: req.Name, desc: req.Description, quiesced: req.QuiesceSpec != nil, made: time.Now(), frozen: map[int32]*frozen{}}
	if err := v.freeze(m, s, s.quiesced && m.toolsRun(vm)); err != nil {
		v.Log.Error("freeze disks", "machine", m.id, "error", err)
		return ref, &types.FileFault{File: m.dir}
	}
	res := vm.CreateSnapshotExTask(c, req).(*methods.CreateSnapshotEx_TaskBody).Res.Returnval
	val, fault := await(c, res)
	if fault != nil {
		return ref, fault
	}
	s.ref = val.(types.ManagedObjectReference)
	m.mu.Lock()
	s.parent = m.current
	m.snaps, m.current = append(m.snaps, s), s
	m.mu.Unlock()
	v.register(m)
	v.count.snapshots(m, 1)
	v.show(c, m, vm)
	v.keepOrLog(m)
	return s.ref, nil
}

// freeze stops the guest for an instant, and between two of its transactions if
// it is quiesced, and puts a delta on each disk.
func (v *VCenter) freeze(m *machine, s *snapshot, quiesce bool) error {
	if quiesce {
		m.calm.Lock()
		defer m.calm.Unlock()
	}
	m.stun.Lock()
	defer m.stun.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle()
	if _, ok := strike[CBTReset](v, m, nil); ok && m.active {
		m.track()
	}
	_, foreign := strike[ChangeIDForeign](v, m, nil)
	for _, d := range m.disks {
		if !d.snapped() {
			continue
		}
		f, err := d.freeze()
		if err != nil {
			return err
		}
		if foreign && f.change != "" {
			f.change = changeID(trackID(), f.gen)
		}
		s.frozen[d.key] = f
	}
	return nil
}

// settle lets a change of the tracking setting take effect, as a stun does. Where
// snapshots stand it waits for one that finds none.
func (m *machine) settle() {
	if m.asked == m.active || m.asked && len(m.snaps) > 0 {
		return
	}
	m.active = m.asked
	if m.active {
		m.track()
		return
	}
	for _, d := range m.disks {
		d.stop()
	}
}

func (m *machine) toolsRun(vm *simulator.VirtualMachine) bool {
	return vm.Guest != nil && vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
}

func (x *snapX) RemoveSnapshotTask(c *simulator.Context, req *types.RemoveSnapshot_Task) soap.HasFault {
	ref := simulator.CreateTask(x.Vm, "removeSnapshot", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "RemoveSnapshot_Task", false); fault != nil {
			return nil, fault
		}
		val := x.VirtualMachineSnapshot.RemoveSnapshotTask(c, req).(*methods.RemoveSnapshot_TaskBody).Res.Returnval
		if _, fault := await(c, val); fault != nil {
			return nil, fault
		}
		x.m.forget(x.v, req.This, req.RemoveChildren)
		return nil, x.v.merge(c, x.m, req.Consolidate == nil || *req.Consolidate)
	}).Run(c)
	return &methods.RemoveSnapshot_TaskBody{Res: &types.RemoveSnapshot_TaskResponse{Returnval: ref}}
}

func (x *vmX) RemoveAllSnapshotsTask(c *simulator.Context, req *types.RemoveAllSnapshots_Task) soap.HasFault {
	ref := simulator.CreateTask(x.VirtualMachine, "removeAllSnapshots", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "RemoveAllSnapshots_Task", false); fault != nil {
			return nil, fault
		}
		val := x.VirtualMachine.RemoveAllSnapshotsTask(c, req).(*methods.RemoveAllSnapshots_TaskBody).Res.Returnval
		if _, fault := await(c, val); fault != nil {
			return nil, fault
		}
		x.m.forgetAll(x.v)
		return nil, x.v.merge(c, x.m, req.Consolidate == nil || *req.Consolidate)
	}).Run(c)
	return &methods.RemoveAllSnapshots_TaskBody{Res: &types.RemoveAllSnapshots_TaskResponse{Returnval: ref}}
}

// forget takes a snapshot out of the tree; its children go to its parent, or
// with it.
func (m *machine) forget(v *VCenter, ref types.ManagedObjectReference, children bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := map[*snapshot]bool{}
	for _, s := range m.snaps { // parents stand before their children
		if s.ref == ref || children && s.parent != nil && gone[s.parent] {
			gone[s] = true
		}
	}
	var left []*snapshot
	for _, s := range m.snaps {
		if gone[s] {
			v.count.snapshots(m, -1)
			continue
		}
		for s.parent != nil && gone[s.parent] {
			s.parent = s.parent.parent
		}
		left = append(left, s)
	}
	for m.current != nil && gone[m.current] {
		m.current = m.current.parent
	}
	if m.snaps = left; len(left) == 0 {
		m.sweep()
	}
}

func (m *machine) forgetAll(v *VCenter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.count.snapshots(m, -len(m.snaps))
	m.snaps, m.current = nil, nil
	m.sweep()
}

// sweep deletes the simulator's own files of snapshots that are gone: it leaves
// them, and then looks for a free number for ever longer.
func (m *machine) sweep() {
	files, _ := filepath.Glob(filepath.Join(escapeGlob(m.dir), "*.vmsn")) // the pattern is sound
	for _, f := range files {
		os.Remove(f) // it is empty, and whoever is first deletes it
	}
}

// escapeGlob makes a path mean itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
