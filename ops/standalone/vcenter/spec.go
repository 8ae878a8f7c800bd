package vcenter

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// escape writes a name as vCenter does.
func escape(name string) string {
	for _, c := range []string{"%", "/", `\`} {
		name = strings.ReplaceAll(name, c, strings.ToLower(url.QueryEscape(c)))
	}
	return name
}

// fileName is a name that a file may have; the simulator mistakes an escaped one
// for one that is yet to be escaped.
func fileName(name string) string {
	return strings.NewReplacer("%", "_", "/", "_", `\`, "_").Replace(name)
}

// stem is what the files of a machine are called.
func stem(vm *simulator.VirtualMachine) string {
	return strings.TrimSuffix(path.Base(vm.Config.Files.VmPathName), ".vmx")
}

func dsPath(datastore, file string) *object.DatastorePath {
	return &object.DatastorePath{Datastore: datastore, Path: file}
}

// perBus is how many disks go on one controller.
const perBus = 15

// place of the n-th disk: controller and unit; unit 7 is the controller's own.
func unitOf(n int) (bus, unit int32) {
	bus, unit = int32(n/perBus), int32(n%perBus)
	if unit >= 7 {
		unit++
	}
	return bus, unit
}

func diskKey(n int) int32 {
	bus, unit := unitOf(n)
	return 2000 + 16*bus + unit
}

// specOf describes a machine of ours as a client would.
func (v *VCenter) specOf(m *machine) (*types.VirtualMachineConfigSpec, error) {
	s := m.spec
	root := filepath.Dir(m.dir)
	spec := &types.VirtualMachineConfigSpec{
		Name: s.Name, InstanceUuid: m.id, Uuid: uuid.NewSHA1(uuid.Nil, []byte(m.id)).String(),
		GuestId: string(types.VirtualMachineGuestOsIdentifierDebian12_64Guest), NumCPUs: 2, MemoryMB: 2048,
		Version: or(s.Version, "vmx-19"), Firmware: or(s.Firmware, "bios"),
		Files: &types.VirtualMachineFileInfo{VmPathName: dsPath(filepath.Base(root), filepath.Base(m.dir)+"/"+fileName(s.Name)+".vmx").String()},
	}
	spec.ChangeTrackingEnabled = types.NewBool(m.asked)
	for k, val := range s.Extra {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: k, Value: val})
	}
	var devices []types.BaseVirtualDevice
	for i, d := range m.disks {
		bus, unit := unitOf(i)
		if unit == 0 {
			devices = append(devices, controller(bus, s.SharedBus))
		}
		devices = append(devices, &types.VirtualDisk{
			VirtualDevice:   types.VirtualDevice{Key: d.key, ControllerKey: 1000 + bus, UnitNumber: &unit, Backing: d.backing(d.top, "")},
			CapacityInBytes: d.top.size, CapacityInKB: d.top.size >> 10, DiskObjectId: fmt.Sprintf("1-%d", d.key),
		})
	}
	nic, err := v.nic(s.Network)
	if err != nil {
		return nil, err
	}
	devices = append(devices, nic)
	if s.Passthrough {
		devices = append(devices, &types.VirtualPCIPassthrough{VirtualDevice: types.VirtualDevice{Key: 13000, ControllerKey: 100,
			Backing: &types.VirtualPCIPassthroughDeviceBackingInfo{Id: "0000:3b:00.0", DeviceId: "1db6", SystemId: "BYPASS", VendorId: 0x10de}}})
	}
	for _, d := range devices {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d})
	}
	return spec, nil
}

func controller(bus int32, shared bool) types.BaseVirtualDevice {
	sharing := types.VirtualSCSISharingNoSharing
	if shared {
		sharing = types.VirtualSCSISharingPhysicalSharing
	}
	unit := 3 + bus
	return &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{SharedBus: sharing,
		VirtualController: types.VirtualController{BusNumber: bus,
			VirtualDevice: types.VirtualDevice{Key: 1000 + bus, ControllerKey: 100, UnitNumber: &unit}}}}
}

func (v *VCenter) nic(network string) (types.BaseVirtualDevice, error) {
	network = or(network, "VM Network")
	var backing types.BaseVirtualDeviceBackingInfo
	e := v.model.Map().FindByName(network, v.datacenter.Network)
	switch n := e.(type) {
	case *simulator.DistributedVirtualPortgroup:
		dvs := v.model.Map().Get(*n.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		backing = &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: n.Key, SwitchUuid: dvs.Uuid}}
	case nil:
		return nil, fmt.Errorf("there is no network %s", network)
	default:
		backing = &types.VirtualEthernetCardNetworkBackingInfo{VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: network}}
	}
	unit := int32(7)
	return &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
		AddressType:   string(types.VirtualEthernetCardMacTypeGenerated),
		VirtualDevice: types.VirtualDevice{Key: 4000, ControllerKey: 100, UnitNumber: &unit, Backing: backing}}}}, nil
}

// create asks the simulator for a machine and waits for it.
func (v *VCenter) create(c *simulator.Context, folder *simulator.Folder, spec *types.VirtualMachineConfigSpec,
	pool types.ManagedObjectReference, host *types.ManagedObjectReference) (types.ManagedObjectReference, types.BaseMethodFault) {
	name := escape(spec.Name)
	spec.Name = fileName(spec.Name)
	var task types.ManagedObjectReference
	c.WithLock(folder, func() {
		task = folder.CreateVMTask(c, &types.CreateVM_Task{This: folder.Self, Config: *spec, Pool: pool, Host: host}).(*methods.CreateVM_TaskBody).Res.Returnval
	})
	val, fault := await(c, task)
	if fault != nil {
		return types.ManagedObjectReference{}, fault
	}
	ref := val.(types.ManagedObjectReference)
	if name != spec.Name {
		c.Map.AtomicUpdate(c, v.vm(ref), []types.PropertyChange{{Name: "name", Val: name}, {Name: "config.name", Val: name}, {Name: "summary.config.name", Val: name}})
	}
	return ref, nil
}

// await waits for a task of the simulator.
func await(c *simulator.Context, ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	t := c.Map.Get(ref).(*simulator.Task)
	t.Wait()
	if t.Info.Error != nil {
		return nil, t.Info.Error.Fault
	}
	return t.Info.Result, nil
}

// nvram gives the machine's NVRAM file bytes that are its own, if it has none.
func (v *VCenter) nvram(m *machine, vm *simulator.VirtualMachine) error {
	file := filepath.Join(m.dir, stem(vm)+".nvram")
	if st, err := os.Stat(file); err == nil && st.Size() > 0 {
		return nil
	}
	text := fmt.Sprintf("NVRAM of %s, firmware %s\n", m.id, or(m.spec.Firmware, "bios"))
	if err := os.WriteFile(file, []byte(strings.Repeat(text, nvramSize/len(text)+1)[:nvramSize]), 0o600); err != nil {
		return fmt.Errorf("NVRAM of %s: %w", m.spec.Name, err)
	}
	return nil
}

// nvramSize is that of a real BIOS machine's.
const nvramSize = 8684

func powerProps(state types.VirtualMachinePowerState) []types.PropertyChange {
	p := []types.PropertyChange{{Name: "runtime.powerState", Val: state}, {Name: "summary.runtime.powerState", Val: state}}
	if state == types.VirtualMachinePowerStatePoweredOn {
		p = append(p, types.PropertyChange{Name: "runtime.bootTime", Val: time.Now()})
	}
	return p
}

// guestProps say what the guest's tools do.
func guestProps(s Machine) []types.PropertyChange {
	status, running, version := types.VirtualMachineToolsStatusToolsNotInstalled,
		types.VirtualMachineToolsRunningStatusGuestToolsNotRunning, types.VirtualMachineToolsVersionStatusGuestToolsNotInstalled
	if s.Tools != "none" {
		status, version = types.VirtualMachineToolsStatusToolsNotRunning, types.VirtualMachineToolsVersionStatusGuestToolsUnmanaged
		if s.On {
			status, running = types.VirtualMachineToolsStatusToolsOk, types.VirtualMachineToolsRunningStatusGuestToolsRunning
		}
	}
	return []types.PropertyChange{
		{Name: "guest.toolsStatus", Val: status}, {Name: "guest.toolsRunningStatus", Val: string(running)},
		{Name: "guest.toolsVersionStatus2", Val: string(version)}, {Name: "guest.guestState", Val: map[bool]string{true: "running", false: "notRunning"}[s.On]},
		{Name: "summary.guest.toolsStatus", Val: status}, {Name: "summary.guest.toolsRunningStatus", Val: string(running)},
	}
}
