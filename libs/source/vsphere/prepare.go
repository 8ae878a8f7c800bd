package vsphere

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// quiesceTries is how often a guest is asked to stand still.
const quiesceTries = 3

// Prepare takes a snapshot. The order of things is half of it: what a dead lease
// left goes first and is consolidated, because a delta below ours would force a
// whole read, and because a new snapshot beside a running consolidation has
// corrupted file systems; then change tracking, which can only begin without
// snapshots; then the snapshot.
func (s *Source) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	m, err := s.find(ctx, o.Machine)
	if err != nil {
		return nil, err
	}
	return m.prepare(ctx, o)
}

func (m *machine) prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	if err := m.dropDead(ctx, o); err != nil {
		return nil, err
	}
	p := preflightOf(m.mo.Config, m.mo.Capability, m.mo.Runtime, m.mo.Snapshot)
	warnings, err := m.track(ctx, &p, o)
	if err != nil {
		return nil, err
	}
	if p.consolidation {
		warnings = append(warnings, needsConsolidation)
	}
	ref, more, err := m.freeze(ctx, o)
	if err != nil {
		if known := p.findings(); len(known) > 0 {
			err = fmt.Errorf("%w; what is known of it: %s", err, strings.Join(known, "; "))
		}
		return nil, err
	}
	if err := m.look(ctx, "snapshot", "layoutEx", "runtime", "config"); err != nil {
		return nil, m.fail("look at the new snapshot", err)
	}
	if err := m.comingBack(); err != nil {
		return nil, err
	}
	n, err := m.snapshot(ctx, o, ref)
	if errors.Is(err, errOther) { // the order's End will not find it there
		return nil, errors.Join(err, m.remove(ctx, o.Name))
	}
	if err != nil {
		return nil, err
	}
	n.warn(append(warnings, more...)...)
	return n, nil
}

// dropDead removes what leases of this machine left that are dead: one backup of
// a machine is open at a time, so another name of ours is nobody's.
func (m *machine) dropDead(ctx context.Context, o source.Order) error {
	if err := m.s.settle(ctx, m.c, m.ref); err != nil {
		return m.fail("wait for its tasks", err)
	}
	if err := m.look(ctx, "snapshot"); err != nil {
		return m.fail("look at its snapshots", err)
	}
	removed := 0
	for n := range nodes(m.mo.Snapshot) {
		if name := unescape(n.Name); strings.HasPrefix(name, mark) && name != o.Name {
			m.s.log.Warn("remove a snapshot of a dead lease", "machine", m.name(), "snapshot", name)
			if err := m.remove(ctx, name); err != nil {
				return err
			}
			removed++
		}
	}
	if removed == 0 {
		return nil
	}
	if err := m.consolidate(ctx); err != nil {
		return err
	}
	if err := m.look(ctx, "snapshot", "runtime", "config"); err != nil {
		return m.fail("look again", err)
	}
	return nil
}

// track turns change tracking on where it can be and is not.
func (m *machine) track(ctx context.Context, p *preflight, o source.Order) (warnings []string, err error) {
	if p.tracking || !p.canTrack() {
		return nil, nil
	}
	if m.mo.Snapshot != nil && len(m.mo.Snapshot.RootSnapshotList) > 0 {
		return []string{"change tracking is off, and can't be turned on while the machine has snapshots: the next backup reads all again"}, nil
	}
	on := true
	res, err := methods.ReconfigVM_Task(ctx, m.c, &types.ReconfigVM_Task{This: m.ref, Spec: types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &on}})
	if err == nil {
		_, err = m.s.wait(ctx, m.c, res.Returnval)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if isGone(err, m.ref) {
			return nil, m.fail("turn change tracking on", err)
		}
		return []string{fmt.Sprintf("change tracking could not be turned on: %v: the next backup reads all again", explain(err))}, nil
	}
	if m.mo.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff {
		return nil, nil
	}
	// On a running machine it begins with the stun of a snapshot, so one is made for
	// that. It bears the order's name: End finds it if we die here.
	if _, err := m.create(ctx, o, "begin change tracking", false); err != nil {
		return nil, err
	}
	if err := m.look(ctx, "snapshot"); err != nil {
		return nil, m.fail("look at its snapshots", err)
	}
	if err := m.remove(ctx, o.Name); err != nil {
		return nil, err
	}
	return nil, m.consolidate(ctx)
}

// freeze makes the snapshot, with the guest's help as the order wants it.
func (m *machine) freeze(ctx context.Context, o source.Order) (ref types.ManagedObjectReference, warnings []string, err error) {
	backup := strings.TrimPrefix(o.Name, mark)
	what := fmt.Sprintf("Made by Holdfast for backup %s at %s. It is removed when the backup ends.",
		backup[:min(len(backup), uuidLen)], time.Now().UTC().Format(time.RFC3339))
	required := o.Quiesce == schemas.Options_QUIESCE_REQUIRE
	if m.mo.Runtime.PowerState == types.VirtualMachinePowerStateSuspended && required {
		return ref, nil, m.refuse("it is suspended, so no guest can be asked to stand still: resume it, or shut it down")
	}
	if m.mo.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn || o.Quiesce == schemas.Options_QUIESCE_OFF {
		ref, err = m.create(ctx, o, what, false)
		return ref, nil, err
	}
	ref, why, err := m.quiesced(ctx, o, what)
	switch {
	case err != nil || why == "":
		return ref, nil, err
	case required:
		return ref, nil, m.refuse(why + ": see to VMware Tools in the guest, or let the policy try only")
	}
	ref, err = m.create(ctx, o, what, false)
	return ref, []string{why + "; the backup is crash-consistent: see to VMware Tools in the guest"}, err
}

// uuidLen is how long a UUID is as text.
const uuidLen = 36

// refuse says that the guest was not quiesced although it had to be.
func (m *machine) refuse(why string) error {
	return source.Permanent(fmt.Errorf("machine %q (%s): quiesce is required, and %s", m.name(), m.id, why))
}

// quiesced makes a snapshot for which the guest stood still, in some tries. why is
// not empty if it could not be made to.
func (m *machine) quiesced(ctx context.Context, o source.Order, what string) (ref types.ManagedObjectReference, why string, err error) {
	if m.mo.Guest != nil && m.mo.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning) {
		// A host would take the snapshot all the same, and call it quiesced.
		return ref, "the guest could not be quiesced: VMware Tools do not run in it", nil
	}
	for try := 1; ; try++ {
		ref, err = m.create(ctx, o, what, true)
		if err == nil || !isQuiesce(err) {
			return ref, "", err
		}
		if try == quiesceTries {
			return ref, fmt.Sprintf("the guest could not be quiesced in %d tries: %v", try, errors.Unwrap(err)), nil
		}
		m.s.log.Warn("the guest could not be quiesced", "machine", m.name(), "try", try, "err", err)
		if err := sleep(ctx, m.s.pause); err != nil {
			return ref, "", err
		}
	}
}

// create makes one snapshot, without the machine's memory.
func (m *machine) create(ctx context.Context, o source.Order, what string, quiesce bool) (ref types.ManagedObjectReference, err error) {
	res, err := methods.CreateSnapshot_Task(ctx, m.c, &types.CreateSnapshot_Task{This: m.ref, Name: o.Name, Description: what, Quiesce: quiesce})
	if err != nil {
		return ref, m.fail("snapshot", err)
	}
	made, err := m.s.wait(ctx, m.c, res.Returnval)
	if err != nil {
		return ref, m.fail("snapshot", err)
	}
	ref, ok := made.(types.ManagedObjectReference)
	if !ok {
		return ref, m.fail("snapshot", fmt.Errorf("its task is done, and names none but %v", made))
	}
	return ref, nil
}
