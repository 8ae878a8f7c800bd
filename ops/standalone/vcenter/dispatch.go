package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// aside makes an object's type unknown to the simulator for one call.
const aside = "!holdfast"

// vmX, snapX, poolX, folderX, sessionX and ovfX stand in for the simulator's
// objects in the calls that they know better.
type (
	vmX struct {
		*simulator.VirtualMachine
		v *VCenter
		m *machine
	}
	snapX struct {
		*simulator.VirtualMachineSnapshot
		v *VCenter
		m *machine
	}
	poolX struct {
		*simulator.ResourcePool
		v *VCenter
	}
	folderX struct {
		*simulator.Folder
		v *VCenter
	}
	sessionX struct {
		*simulator.SessionManager
		v *VCenter
	}
	ovfX struct {
		*simulator.OvfManager
		v *VCenter
	}
)

// Lock and Unlock keep the simulator from locking a snapshot for a call on it: the
// call locks its machine, and whoever holds a machine locks its snapshots. Both
// orders together would stand still.
func (*snapX) Lock()   {}
func (*snapX) Unlock() {}

// dispatch sees every call before the simulator does. What it returns should
// stand in for the object, but the simulator (v0.56.0) then asks the session for
// method.This, which falls back to the inventory and so puts the original back.
// A This that neither knows lets ours stand; the request's body keeps the real
// one. TestCanary holds the simulator to this order.
func (v *VCenter) dispatch(c *simulator.Context, q *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if c.Session == nil {
		return nil, nil // the simulator says NotAuthenticated
	}
	if f := v.expire(c, q); f != nil {
		return nil, f
	}
	m := v.machineOf(c, q.This)
	if _, ok := c.Map.Get(q.This).(*simulator.VirtualMachineSnapshot); ok && m == nil {
		// The simulator keeps the snapshots of a machine that was destroyed.
		return nil, &types.ManagedObjectNotFound{Obj: q.This}
	}
	if f := v.failing(m, q.Name, true); f != nil {
		return nil, f
	}
	h := v.route(c, q, m)
	if h != nil {
		q.This.Type += aside // not its value: of some types the session makes a view of its own
	}
	return h, nil
}

// machineOf is the machine that a call is about, if it is about one.
func (v *VCenter) machineOf(c *simulator.Context, this types.ManagedObjectReference) *machine {
	switch o := c.Session.Get(this).(type) {
	case *simulator.VirtualMachine:
		return v.byRef(this)
	case *simulator.VirtualMachineSnapshot:
		return v.byRef(o.Vm)
	case *leaseX:
		return o.l.machine()
	}
	return nil
}

func (v *VCenter) route(c *simulator.Context, q *simulator.Method, m *machine) mo.Reference {
	switch q.Name {
	case "CreateSnapshot_Task", "CreateSnapshotEx_Task", "RemoveAllSnapshots_Task", "RevertToCurrentSnapshot_Task",
		"ConsolidateVMDisks_Task", "QueryChangedDiskAreas", "ExportVm", "ReconfigVM_Task", "Destroy_Task", "PowerOnVM_Task",
		"PowerOffVM_Task", "SuspendVM_Task", "RelocateVM_Task", "Rename_Task", "RefreshStorageInfo", "UnregisterVM":
		if vm, ok := c.Map.Get(q.This).(*simulator.VirtualMachine); ok && m != nil {
			return &vmX{vm, v, m}
		}
	case "RemoveSnapshot_Task", "RevertToSnapshot_Task", "ExportSnapshot":
		if s, ok := c.Map.Get(q.This).(*simulator.VirtualMachineSnapshot); ok && m != nil {
			return &snapX{s, v, m}
		}
	case "ImportVApp":
		if p, ok := c.Map.Get(q.This).(*simulator.ResourcePool); ok {
			return &poolX{p, v}
		}
	case "CreateVM_Task":
		if f, ok := c.Map.Get(q.This).(*simulator.Folder); ok {
			return &folderX{f, v}
		}
	case "AcquireGenericServiceTicket", "Logout":
		if s, ok := c.Map.Get(q.This).(*simulator.SessionManager); ok {
			return &sessionX{s, v}
		}
	case "CreateDescriptor":
		if o, ok := c.Map.Get(q.This).(*simulator.OvfManager); ok {
			return &ovfX{o, v}
		}
	}
	return nil
}
