package vcenter

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ExportSnapshot leases what a snapshot holds.
func (x *snapX) ExportSnapshot(c *simulator.Context, req *types.ExportSnapshot) soap.HasFault {
	if fault := x.v.failing(x.m, "ExportSnapshot", false); fault != nil {
		return &methods.ExportSnapshotBody{Fault_: simulator.Fault("", fault)}
	}
	x.m.mu.Lock()
	at := map[*disk]*frozen{}
	for _, d := range x.m.disks {
		if f := x.m.frozenIn(req.This, d.key); f != nil {
			at[d] = f
			d.hold(f.layer, 1)
		}
	}
	x.m.mu.Unlock()
	return &methods.ExportSnapshotBody{Res: &types.ExportSnapshotResponse{Returnval: x.v.export(c, x.m, at)}}
}

// ExportVm leases a machine that is off, as it stands.
func (x *vmX) ExportVm(c *simulator.Context, req *types.ExportVm) soap.HasFault {
	if fault := x.v.failing(x.m, "ExportVm", false); fault != nil {
		return &methods.ExportVmBody{Fault_: simulator.Fault("", fault)}
	}
	if state := x.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		return &methods.ExportVmBody{Fault_: simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state})}
	}
	if fault := x.m.take(); fault != nil {
		return &methods.ExportVmBody{Fault_: simulator.Fault("", fault)}
	}
	x.m.mu.Lock()
	at := map[*disk]*frozen{}
	for _, d := range x.m.disks {
		if d.kind == modeRDM {
			continue
		}
		d.mu.RLock()
		f := &frozen{layer: d.top, gen: d.track.gen, size: d.top.size}
		d.mu.RUnlock()
		at[d] = f
		d.hold(f.layer, 1)
	}
	x.m.mu.Unlock()
	ref := x.v.export(c, x.m, at, x.m.give)
	return &methods.ExportVmBody{Res: &types.ExportVmResponse{Returnval: ref}}
}

// export makes a lease on frozen disks that are held already.
func (v *VCenter) export(c *simulator.Context, m *machine, at map[*disk]*frozen, after ...func()) types.ManagedObjectReference {
	l := v.newLease(c, m, true)
	vm := v.vm(m.ref)
	disks := make([]*disk, 0, len(at))
	for d := range at {
		disks = append(disks, d)
	}
	sort.Slice(disks, func(i, j int) bool { return disks[i].key < disks[j].key })
	c.WithLock(vm, func() {
		for n, d := range disks {
			key := deviceKey(vm, d)
			v.offer(l, &item{d: d, f: at[d], isDisk: true}, fmt.Sprintf("disk-%d.vmdk", n),
				"/"+m.ref.Value+"/"+key, "/"+vm.Name+"/"+key, 0)
		}
		if file := filepath.Join(m.dir, stem(vm)+".nvram"); exists(file) {
			v.offer(l, &item{file: file}, stem(vm)+".nvram", "/"+m.ref.Value+"/nvram", "/"+vm.Name+"/nvram", 0)
		}
	})
	v.ready(l, vm, func() {
		for d, f := range at {
			d.hold(f.layer, -1)
		}
		for _, f := range after {
			f()
		}
	})
	return l.obj.Self
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// deviceKey is how a lease names a disk: its controller and its unit.
func deviceKey(vm *simulator.VirtualMachine, d *disk) string {
	for _, dev := range vm.Config.Hardware.Device {
		one, ok := dev.(*types.VirtualDisk)
		if !ok || one.Key != d.key {
			continue
		}
		for _, ctl := range vm.Config.Hardware.Device {
			if b, ok := ctl.(types.BaseVirtualController); ok && b.GetVirtualController().Key == one.ControllerKey && one.UnitNumber != nil {
				return fmt.Sprintf("%s%d:%d", controllerName(ctl), b.GetVirtualController().BusNumber, *one.UnitNumber)
			}
		}
	}
	return fmt.Sprintf("VirtualDisk:%d", d.key)
}

func controllerName(c types.BaseVirtualDevice) string {
	switch c.(type) {
	case *types.VirtualLsiLogicController:
		return "VirtualLsiLogicController"
	case *types.VirtualLsiLogicSASController:
		return "VirtualLsiLogicSASController"
	case *types.VirtualBusLogicController:
		return "VirtualBusLogicController"
	case *types.VirtualAHCIController:
		return "VirtualAHCIController"
	case *types.VirtualNVMEController:
		return "VirtualNVMEController"
	case *types.VirtualIDEController:
		return "VirtualIDEController"
	}
	return "ParaVirtualSCSIController"
}

// take forbids changes to the machine while a lease on all of it lives.
func (m *machine) take() types.BaseMethodFault {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy > 0 {
		return &types.TaskInProgress{}
	}
	m.busy++
	return nil
}

func (m *machine) give() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
}

func (m *machine) taken() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.busy > 0
}

// HttpNfcLeaseGetManifest says what went over the wire.
func (o *leaseX) HttpNfcLeaseGetManifest(c *simulator.Context, req *types.HttpNfcLeaseGetManifest) soap.HasFault {
	res := &types.HttpNfcLeaseGetManifestResponse{}
	for _, i := range o.l.items {
		i.mu.Lock()
		if i.sum != nil {
			e := types.HttpNfcLeaseManifestEntry{Key: i.key, Sha1: hex.EncodeToString(i.sum.Sum(nil)), Size: i.size, Disk: i.isDisk}
			if i.isDisk {
				e.Capacity, e.PopulatedSize = i.d.size(), i.plain
			}
			res.Returnval = append(res.Returnval, e)
		}
		i.mu.Unlock()
	}
	sort.Slice(res.Returnval, func(a, b int) bool { return res.Returnval[a].Key < res.Returnval[b].Key })
	return &methods.HttpNfcLeaseGetManifestBody{Res: res}
}
