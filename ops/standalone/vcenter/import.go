package vcenter

import (
	"fmt"
	"path/filepath"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ImportVApp makes the machine of a spec and leases its disks for writing. What
// is wrong with the spec is told by the lease, as real ones do.
func (x *poolX) ImportVApp(c *simulator.Context, req *types.ImportVApp) soap.HasFault {
	spec, ok := req.Spec.(*types.VirtualMachineImportSpec)
	if !ok {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("A specified parameter was not correct: spec", invalid("spec"))}
	}
	folder := x.v.folders[""]
	if req.Folder != nil {
		folder = *req.Folder
	}
	f, ok := c.Map.Get(folder).(*simulator.Folder)
	if !ok {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("A specified parameter was not correct: folder", invalid("folder"))}
	}
	l := x.v.newLease(c, nil, false)
	x.v.working.Go(func() {
		own := x.v.ctx()
		m, fault := x.v.take(own, f, &spec.ConfigSpec, x.Self, req.Host)
		if fault != nil {
			x.v.die(l, fault)
			return
		}
		l.mu.Lock()
		l.m = m
		l.mu.Unlock()
		vm := x.v.vm(m.ref)
		m.take()
		own.WithLock(vm, func() {
			for n, d := range m.disks {
				key := deviceKey(vm, d)
				x.v.offer(l, &item{d: d, isDisk: true}, fmt.Sprintf("disk-%d.vmdk", n), "/"+m.ref.Value+"/"+key, "/"+vm.Name+"/"+key, d.size())
			}
			x.v.offer(l, &item{file: filepath.Join(m.dir, stem(vm)+".nvram")}, stem(vm)+".nvram", "/"+m.ref.Value+"/nvram", "/"+vm.Name+"/nvram", nvramSize)
		})
		x.v.ready(l, vm, m.give)
	})
	return &methods.ImportVAppBody{Res: &types.ImportVAppResponse{Returnval: l.obj.Self}}
}

// take makes an imported machine, if there is room for it.
func (v *VCenter) take(c *simulator.Context, f *simulator.Folder, spec *types.VirtualMachineConfigSpec, pool types.ManagedObjectReference,
	host *types.ManagedObjectReference) (*machine, types.BaseMethodFault) {
	if _, ok := strike[DatastoreFull](v, &machine{spec: Machine{Name: spec.Name}, dir: v.homeOf(spec)}, nil); ok {
		return nil, &types.NoDiskSpace{Datastore: filepath.Base(filepath.Dir(v.homeOf(spec)))}
	}
	return v.adopt(c, f, spec, pool, host)
}
