package vsphere

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// snapshot is a machine as one of its snapshots holds it.
type snapshot struct {
	m        *machine
	order    source.Order
	node     *types.VirtualMachineSnapshotTree
	id       string
	files    []source.File
	disks    map[string]*disk  // by key
	small    map[string][]byte // config files by key
	since    map[string]string // what Changed was last asked of a disk
	known    map[string]areas  // what the host answered, by disk
	lease    *lease            // nil: none was needed yet
	warnings []string
}

// Resume finds the snapshot of that name and id. Nothing is remembered between
// processes: the id is a hash over all that makes the snapshot what it is.
func (s *Source) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	m, err := s.find(ctx, o.Machine)
	if err != nil {
		return nil, err
	}
	other := ""
	for _, n := range named(m.mo.Snapshot, o.Name) {
		snap, err := m.snapshot(ctx, o, n.Snapshot)
		if err != nil {
			return nil, err
		}
		if snap.id == id {
			return snap, nil
		}
		other = snap.id
	}
	if other != "" {
		return nil, fmt.Errorf("machine %q (%s): snapshot %s is now %s, and not %s any more: the machine's settings or disks are others: %w",
			m.name(), m.id, o.Name, other, brief(id), source.ErrGone)
	}
	return nil, fmt.Errorf("machine %q (%s): no snapshot %s: %w", m.name(), m.id, o.Name, source.ErrGone)
}

// errOther means that a reference names another machine than it did. A vCenter that
// was restored, or is a simulator that was started anew, may give them out again; and
// a call that logs in anew in between asks it with the old one.
var errOther = errors.New("the vCenter's references name other machines than they did")

// snapshot takes down what a snapshot of the machine holds, if it is the machine's.
func (m *machine) snapshot(ctx context.Context, o source.Order, ref types.ManagedObjectReference) (*snapshot, error) {
	n := &snapshot{m: m, order: o, disks: map[string]*disk{}, small: map[string][]byte{}, since: map[string]string{}, known: map[string]areas{}}
	for node := range nodes(m.mo.Snapshot) {
		if node.Snapshot == ref {
			n.node = node
		}
	}
	if n.node == nil {
		return nil, m.fail("snapshot "+o.Name, fmt.Errorf("%s was made, and is gone again: somebody removed it", ref.Value))
	}
	var held mo.VirtualMachineSnapshot
	if err := property.DefaultCollector(m.c).RetrieveOne(ctx, ref, []string{"config"}, &held); err != nil {
		return nil, m.fail("read the settings in snapshot "+o.Name, err)
	}
	if of := held.Config.InstanceUuid; !strings.EqualFold(of, m.id) {
		return nil, m.fail("read the settings in snapshot "+o.Name, fmt.Errorf("they are those of machine %q (%s): %w", held.Config.Name, brief(of), errOther))
	}
	n.take(&held.Config)
	if err := n.describe(ctx, &held.Config); err != nil {
		return nil, err
	}
	sort.Slice(n.files, func(i, j int) bool { return n.files[i].Key < n.files[j].Key })
	if len(n.files) > source.MaxFiles {
		return nil, source.Permanent(m.fail("list its files", fmt.Errorf("more than %d", source.MaxFiles)))
	}
	n.id = n.hash()
	return n, nil
}

// take lists the disks that can be read, and says which can't.
func (n *snapshot) take(c *types.VirtualMachineConfigInfo) {
	all := disksOf(c.Hardware.Device)
	for _, x := range all {
		f := source.File{Key: x.key, Name: source.Text(x.label), Kind: schemas.FileExported_KIND_DISK, Size: x.size, ChangeID: x.changeID()}
		if p, err := datastorePath(x.file); err == nil {
			f.Store = source.Text(p.Datastore)
		}
		switch why := x.barred(); {
		case n.order.Excludes(f):
			n.warn(fmt.Sprintf("disk %q is excluded", x.label))
		case why != "":
			n.warn(fmt.Sprintf("disk %q %s; it is left out", x.label, why))
		default:
			if x.multi {
				n.warn(fmt.Sprintf("disk %q may be written by several machines: what others wrote meanwhile is in it", x.label))
			}
			n.disks[x.key] = x
			n.files = append(n.files, f)
		}
	}
	if len(n.disks) == 0 {
		n.warn("no disk")
	}
	p := preflight{devices: c.Hardware.Device}
	n.warn(p.passthrough()...)
	if others := foreign(n.m.mo.Snapshot); len(others) > 0 {
		n.warn(fmt.Sprintf("the machine has %d snapshots that are not Holdfast's: its disks are read whole", len(others)))
	}
}

func (n *snapshot) warn(all ...string) { n.warnings = append(n.warnings, all...) }

// hash is over what makes the snapshot what it is: which it is at its vCenter, and
// each file as it was taken down.
func (n *snapshot) hash() string {
	h := blake3.New()
	fmt.Fprintf(h, "%q %d\n", n.node.Snapshot.Value, n.node.CreateTime.UnixNano())
	for _, f := range n.files {
		sum := blake3.Sum256(n.small[f.Key])
		fmt.Fprintf(h, "%q %d %q %x\n", f.Key, f.Size, f.ChangeID, sum[:16])
	}
	return fmt.Sprintf("vsphere-%x", h.Sum(nil)[:16])
}

func (n *snapshot) ID() string           { return n.id }
func (n *snapshot) Files() []source.File { return n.files }
func (n *snapshot) Warnings() []string   { return n.warnings }

// fail names the disk too.
func (n *snapshot) fail(x *disk, what string, err error) error {
	if err == nil {
		return nil
	}
	return n.m.fail(fmt.Sprintf("disk %q (%s): %s", x.label, x.key, what), err)
}

// lost says what became of the snapshot where a call does not find it: it went
// with its machine, or somebody removed it.
func (n *snapshot) lost(ctx context.Context, what string, err error) error {
	if !isGone(err, n.node.Snapshot) {
		return n.m.fail(what, err)
	}
	if gone := n.m.look(ctx, "name"); gone != nil {
		return n.m.fail(what, gone)
	}
	return n.m.fail(what, fmt.Errorf("somebody removed snapshot %s while it was read", n.order.Name))
}

// Check looks whether machine and snapshot are still there, the snapshot under its
// name, which no other bears, and says which level
// the snapshot has.
func (n *snapshot) Check(ctx context.Context) (source.Worth, error) {
	m := n.m
	if err := m.look(ctx, "snapshot", "runtime"); err != nil {
		return source.Worth{}, m.fail("look again after the last read", err)
	}
	there := false
	for node := range nodes(m.mo.Snapshot) {
		there = there || node.Snapshot == n.node.Snapshot && unescape(node.Name) == n.order.Name
	}
	if !there {
		return source.Worth{}, m.fail("look again after the last read", fmt.Errorf("somebody removed snapshot %s while it was read", n.order.Name))
	}
	w := source.Worth{Level: n.level()}
	// The tree's own power state is off for every snapshot without memory; but where
	// quiesce is required, Prepare makes one without it only of a machine that is off.
	if n.order.Quiesce == schemas.Options_QUIESCE_REQUIRE && w.Level < schemas.Consistency_CONSISTENCY_FILESYSTEM {
		w.Warnings = append(w.Warnings, "the machine was off when the snapshot was taken: there was no guest to quiesce")
	}
	return w, nil
}

// level is what the snapshot's bytes are worth. A quiesced Windows guest has
// flushed its applications (VSS), another its file systems.
func (n *snapshot) level() schemas.Consistency {
	switch {
	case !n.node.Quiesced:
		return schemas.Consistency_CONSISTENCY_CRASH
	case n.m.mo.Config != nil && strings.HasPrefix(n.m.mo.Config.GuestId, "win") && n.m.mo.Config.KeyId == nil:
		return schemas.Consistency_CONSISTENCY_APPLICATION
	}
	return schemas.Consistency_CONSISTENCY_FILESYSTEM
}

// Close gives the lease back, if there was need of one.
func (n *snapshot) Close() error {
	if n.lease == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := n.lease.end(ctx)
	n.lease = nil
	if err != nil && !fault.Is(err, &types.ManagedObjectNotFound{}) {
		return n.m.fail("end its export lease", err)
	}
	return nil
}
