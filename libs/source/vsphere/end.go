package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// End removes the snapshots of the order's name, wherever they are in the tree.
// Their children stay; nobody else's are touched.
func (s *Source) End(ctx context.Context, o source.Order) error {
	s.abortLeases(ctx, o.Name)
	all, err := s.findAll(ctx, o.Machine)
	if err != nil {
		return fmt.Errorf("machine %q: end %s: %w", brief(o.Machine), o.Name, err)
	}
	// A machine that was copied with its UUID may have our snapshot twice.
	for _, m := range all {
		if err := m.end(ctx, o.Name); err != nil && !isGone(err, m.ref) {
			return err
		}
	}
	return nil
}

func (m *machine) end(ctx context.Context, name string) error {
	if err := m.s.settle(ctx, m.c, m.ref); err != nil {
		return m.fail("wait for its tasks", err)
	}
	if err := m.look(ctx, "snapshot"); err != nil {
		return m.fail("look at its snapshots", err)
	}
	if err := m.remove(ctx, name); err != nil {
		return err
	}
	return m.consolidate(ctx)
}

// remove removes the snapshots of one name and returns when none is left.
func (m *machine) remove(ctx context.Context, name string) error {
	keep := true // the disks' content: into their parents
	for _, n := range named(m.mo.Snapshot, name) {
		res, err := methods.RemoveSnapshot_Task(ctx, m.c, &types.RemoveSnapshot_Task{This: n.Snapshot, RemoveChildren: false, Consolidate: &keep})
		if err == nil {
			_, err = m.s.wait(ctx, m.c, res.Returnval)
		}
		if err != nil && !isGone(err, n.Snapshot) && !fault.Is(err, &types.NotFound{}) {
			return m.fail("remove snapshot "+name, err)
		}
	}
	if err := m.look(ctx, "snapshot", "runtime"); err != nil {
		return m.fail("look whether snapshot "+name+" is gone", err)
	}
	if left := named(m.mo.Snapshot, name); len(left) > 0 {
		return m.fail("remove snapshot "+name, fmt.Errorf("the vCenter says it is done, and %s is still there", left[0].Snapshot.Value))
	}
	return nil
}

// consolidate merges deltas that a removal left, and returns when there are none.
func (m *machine) consolidate(ctx context.Context) error {
	if err := m.look(ctx, "runtime"); err != nil {
		return m.fail("look whether it needs consolidation", err)
	}
	if !m.mo.Runtime.ConsolidationNeeded {
		return nil
	}
	res, err := methods.ConsolidateVMDisks_Task(ctx, m.c, &types.ConsolidateVMDisks_Task{This: m.ref})
	if err == nil {
		_, err = m.s.wait(ctx, m.c, res.Returnval)
	}
	if err != nil {
		return m.fail("consolidate its disks", err)
	}
	if err := m.look(ctx, "runtime"); err != nil {
		return m.fail("look whether it is consolidated", err)
	}
	if m.mo.Runtime.ConsolidationNeeded {
		return m.fail("consolidate its disks", fmt.Errorf("the vCenter says it is done, and that it is still needed: some file may be locked"))
	}
	return nil
}
