package vsphere

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// trackingVersion is the lowest hardware version that can track changed blocks.
const trackingVersion = 7

// namesTold bounds how many snapshots a finding names.
const namesTold = 5

const needsConsolidation = "its disks need consolidation: deltas of removed snapshots are still in use, grow, and force whole reads; run Snapshots > Consolidate"

// preflight is what can be known of a machine before a backup of it. Each finding
// says what it means, and what to do.
type preflight struct {
	version       string // vmx-19
	tracking      bool   // is on
	trackable     bool   // the host can
	encrypted     bool   // the machine's home
	consolidation bool
	connection    types.VirtualMachineConnectionState
	snapshots     []string // others'
	devices       []types.BaseVirtualDevice
}

func preflightOf(c *types.VirtualMachineConfigInfo, can types.VirtualMachineCapability, r types.VirtualMachineRuntimeInfo, snaps *types.VirtualMachineSnapshotInfo) preflight {
	p := preflight{trackable: can.ChangeTrackingSupported, consolidation: r.ConsolidationNeeded,
		connection: r.ConnectionState, snapshots: foreign(snaps)}
	if c != nil {
		p.version, p.tracking, p.encrypted = c.Version, deref(c.ChangeTrackingEnabled, false), c.KeyId != nil
		p.devices = c.Hardware.Device
	}
	return p
}

func deref(p *bool, unset bool) bool {
	if p == nil {
		return unset
	}
	return *p
}

// canTrack reports whether the machine's disks could track changes.
func (p *preflight) canTrack() bool { return p.trackable && !p.old() }

// old reports whether the hardware version is known to be below the lowest.
func (p *preflight) old() bool {
	n, err := strconv.Atoi(strings.TrimPrefix(p.version, "vmx-"))
	return err == nil && n < trackingVersion
}

func (p *preflight) findings() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if p.connection != "" && p.connection != types.VirtualMachineConnectionStateConnected {
		say("is %s: it can't be backed up until its host and its files are there again", p.connection)
	}
	for _, x := range disksOf(p.devices) {
		if why := x.barred(); why != "" {
			say("disk %q %s; it is left out", x.label, why)
		} else if x.multi {
			say("disk %q may be written by several machines: a snapshot of one does not hold it still; stop the others, or back up within the guests", x.label)
		}
	}
	all = append(all, p.passthrough()...)
	if p.encrypted {
		say("its home is encrypted: a restore needs the key provider and the same key; quiescing reaches file systems only")
	}
	if p.consolidation {
		all = append(all, needsConsolidation)
	}
	switch {
	case p.old():
		say("hardware version %s is below %d: changed blocks are not tracked, each backup reads all; upgrade it", strings.TrimPrefix(p.version, "vmx-"), trackingVersion)
	case !p.trackable:
		say("its host tracks no changed blocks: each backup reads all")
	case !p.tracking && len(p.snapshots) > 0:
		say("change tracking is off and can't be turned on while there are snapshots: each backup reads all; remove them")
	case !p.tracking:
		say("change tracking is off: the first backup turns it on, the ones after it read only what changed")
	}
	if n := len(p.snapshots); n > 0 {
		names := p.snapshots[:min(n, namesTold)]
		say("has %d snapshots that are not Holdfast's (%q): its disks are then read whole, over an export lease; remove what is not needed", n, names)
	}
	return all
}

// passthrough finds hardware that is lent to the machine, which no snapshot holds.
func (p *preflight) passthrough() (all []string) {
	for _, d := range p.devices {
		var what string
		switch d.(type) {
		case *types.VirtualPCIPassthrough:
			what = "a PCI device that is passed through: no snapshot can be taken while it is on; back up within the guest, or with it off"
		case *types.VirtualSCSIPassthrough:
			what = "a SCSI device that is passed through: its content is in no snapshot; back it up within the guest"
		default:
			continue
		}
		label := "device"
		if info := d.GetVirtualDevice().DeviceInfo; info != nil {
			label = info.GetDescription().Label
		}
		all = append(all, fmt.Sprintf("%q is %s", label, what))
	}
	return all
}
