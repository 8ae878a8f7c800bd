package vsphere

import (
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// plan is how a machine is made anew from its kept settings.
type plan struct {
	o        source.Return
	t        *Settings
	at       *site
	name     string
	kept     bool                                          // id and addresses: nobody else has them here
	backings map[string]types.BaseVirtualDeviceBackingInfo // by the network that a card was on
	files    map[string]source.File
	disks    []*disk // that are made, by device, under the keys of their files
	warnings []string
}

func (p *plan) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// Keys of extraConfig that say where a machine is, or what it did, rather than what
// it is. They would tie the new one to the old one's files.
var placeKeys = []string{"nvram", "uuid.", "vc.uuid", "viv.", "migrate.", "vmotion.", "sched.swap.", "vmxstats.", "tools.remindinstall",
	"vmware.tools.", "cleanshutdown", "softpoweroff", "checkpoint.", "extendedconfigfile", "ctkenabled", "annotation", "displayname", "holdfast."}

// placeKey reports whether a key is of that kind. Change tracking of one disk is
// "scsi0:0.ctkEnabled".
func placeKey(key string) bool {
	key = strings.ToLower(key)
	for _, k := range placeKeys {
		if strings.HasPrefix(key, k) {
			return true
		}
	}
	return strings.HasSuffix(key, ".ctkenabled")
}

// spec describes the new machine.
func (p *plan) spec() *types.VirtualMachineConfigSpec {
	c := &p.t.Config
	hw := &c.Hardware
	spec := &types.VirtualMachineConfigSpec{
		Name: escapeName(p.name), Version: c.Version, GuestId: c.GuestId, AlternateGuestName: c.AlternateGuestName, Annotation: c.Annotation,
		Uuid: p.t.BIOS, InstanceUuid: p.t.ID,
		Files:   &types.VirtualMachineFileInfo{VmPathName: (&object.DatastorePath{Datastore: p.at.store}).String()},
		NumCPUs: hw.NumCPU, MemoryMB: int64(hw.MemoryMB), VirtualICH7MPresent: hw.VirtualICH7MPresent, VirtualSMCPresent: hw.VirtualSMCPresent,
		MemoryHotAddEnabled: c.MemoryHotAddEnabled, CpuHotAddEnabled: c.CpuHotAddEnabled, CpuHotRemoveEnabled: c.CpuHotRemoveEnabled,
		CpuAllocation: c.CpuAllocation, MemoryAllocation: c.MemoryAllocation, LatencySensitivity: c.LatencySensitivity,
		BootOptions: c.BootOptions, Firmware: c.Firmware, SwapPlacement: c.SwapPlacement, MaxMksConnections: c.MaxMksConnections,
		ChangeTrackingEnabled: c.ChangeTrackingEnabled, GuestAutoLockEnabled: c.GuestAutoLockEnabled, NestedHVEnabled: c.NestedHVEnabled,
		VPMCEnabled: c.VPMCEnabled, MemoryReservationLockedToMax: c.MemoryReservationLockedToMax, MessageBusTunnelEnabled: c.MessageBusTunnelEnabled,
	}
	if hw.NumCoresPerSocket != nil && *hw.NumCoresPerSocket > 0 {
		spec.NumCoresPerSocket = hw.NumCoresPerSocket
	}
	if !p.kept {
		spec.InstanceUuid, spec.Uuid = p.fresh("instance"), p.fresh("bios")
	}
	for _, e := range c.ExtraConfig {
		if v := e.GetOptionValue(); !placeKey(v.Key) {
			spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: v.Key, Value: v.Value})
		}
	}
	spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: returnKey, Value: p.o.Name + unfinished})
	if c.VAppConfig != nil {
		p.warn("its vApp properties are in %s, and are not restored: set them again where its guest needs them", keySettings)
	}
	for _, s := range p.t.Policies {
		p.warn("storage policy %q is not applied: apply it where it is wanted", either(s.Name, s.ID))
	}
	spec.DeviceChange = p.devices()
	return spec
}

// fresh is an id of the new machine's own, the same for the same order: so what is
// half made is found again by it.
func (p *plan) fresh(what string) string { return freshID(p.o.Name, what) }

func freshID(name, what string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name+"/"+what)).String()
}

// escapeName writes a name as a vCenter wants it: see unescape.
func escapeName(name string) string {
	return strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c").Replace(source.Raw(name))
}
