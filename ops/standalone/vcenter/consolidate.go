package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// holds reports whether a snapshot stands on a layer. m's lock is held.
func (m *machine) holds(l *layer) bool {
	for _, s := range m.snaps {
		for _, f := range s.frozen {
			if f.layer == l {
				return true
			}
		}
	}
	return false
}

// merge consolidates what snapshots no longer need, if it is wanted, and shows
// the outcome. A file that an export still reads is locked: then the machine is
// left with consolidation needed, and the caller is told. The machine object is
// locked.
func (v *VCenter) merge(c *simulator.Context, m *machine, wanted bool) types.BaseMethodFault {
	vm := v.vm(m.ref)
	left, failed := false, false
	if wanted {
		m.mu.Lock()
		for _, d := range m.disks {
			waits, err := d.consolidate(m.holds, m.moved)
			left = left || waits
			if err != nil {
				v.Log.Error("consolidate", "machine", m.id, "disk", d.key, "error", err)
				failed = true
			}
		}
		m.mu.Unlock()
	}
	v.show(c, m, vm)
	v.reindex(m)
	v.keepOrLog(m)
	if left || failed {
		return &types.FileLocked{FileFault: types.FileFault{File: "[" + m.datastore() + "] " + m.name()}}
	}
	return nil
}

// moved follows a layer that was merged into another. m's lock is held.
func (m *machine) moved(from, to *layer) {
	for _, s := range m.snaps {
		for _, f := range s.frozen {
			if f.layer == from {
				f.layer = to
			}
		}
	}
}

// needsConsolidation: there is a delta more than snapshots account for. m's lock
// is held.
func (m *machine) needsConsolidation() bool {
	for _, d := range m.disks {
		d.mu.RLock()
		need := false
		for _, l := range d.layers {
			need = need || l.parent != nil && !m.holds(l.parent) && d.children(l.parent) == 1
		}
		d.mu.RUnlock()
		if need {
			return true
		}
	}
	return false
}

// reindex makes the machine's files known as they are now.
func (v *VCenter) reindex(m *machine) {
	v.mu.Lock()
	for p, e := range v.files {
		if e.m == m {
			delete(v.files, p)
		}
	}
	v.mu.Unlock()
	v.register(m)
}

func (x *vmX) ConsolidateVMDisksTask(c *simulator.Context, req *types.ConsolidateVMDisks_Task) soap.HasFault {
	ref := simulator.CreateTask(x.VirtualMachine, "consolidateDisks", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := x.v.failing(x.m, "ConsolidateVMDisks_Task", false); fault != nil {
			return nil, fault
		}
		return nil, x.v.merge(c, x.m, true)
	}).Run(c)
	return &methods.ConsolidateVMDisks_TaskBody{Res: &types.ConsolidateVMDisks_TaskResponse{Returnval: ref}}
}

// RefreshStorageInfo: the simulator's own would forget the chain.
func (x *vmX) RefreshStorageInfo(c *simulator.Context, req *types.RefreshStorageInfo) soap.HasFault {
	x.v.show(c, x.m, x.VirtualMachine)
	return &methods.RefreshStorageInfoBody{Res: &types.RefreshStorageInfoResponse{}}
}
