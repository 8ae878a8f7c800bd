package vsphere

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Ways of a return in place.
const (
	viaRanges = "datastore ranges"
	viaWhole  = "whole disks"
)

// tracked is in the mark of a return in place that turned change tracking off: who
// goes on with it after a crash turns it on again.
const tracked = ", change tracking was on"

// inPlace is a machine whose disks are changed where they lie.
type inPlace struct {
	s      *Source
	m      *machine
	o      source.Return
	places *places
	disks  map[string]*disk
	ranges map[string]bool // whether a datastore takes ranges, by its name
	via    string
	first  sync.Mutex // before the first change
	ready  bool       // change tracking is off, so that nobody believes it later
	track  bool       // it was on
}

// inPlace looks whether the machine is as it must be: there, off, without
// snapshots, its disks those of the point.
func (s *Source) inPlace(ctx context.Context, o source.Return, t *Settings) (*inPlace, error) {
	if o.As != "" || o.Folder != "" || o.Pool != "" || o.Datastore != "" || len(o.Networks) > 0 {
		return nil, source.Refuse(errors.New("in place, a machine keeps its name, folder, pool, datastore and networks"))
	}
	m, err := s.find(ctx, o.Machine)
	if err != nil {
		if errors.Is(err, source.ErrGone) {
			return nil, source.Refuse(fmt.Errorf("%w: it can be restored as a new machine", err))
		}
		return nil, err
	}
	if err := m.still(); err != nil {
		return nil, err
	}
	r := &inPlace{s: s, m: m, o: o, disks: map[string]*disk{}, ranges: map[string]bool{}, via: viaRanges}
	if err := r.match(t); err != nil {
		return nil, err
	}
	if r.places, err = s.nearPlaces(ctx, m.c); err != nil {
		return nil, explain(err)
	}
	return r, r.probeAll(ctx)
}

// bar refuses, and names the machine.
func (m *machine) bar(format string, args ...any) error {
	return source.Refuse(fmt.Errorf("machine %q (%s) can't be restored in place: %w", m.name(), m.id, fmt.Errorf(format, args...)))
}

// still refuses a machine whose disks somebody uses, or may.
func (m *machine) still() error {
	switch {
	case m.mo.Config == nil:
		return m.bar("its settings can't be seen: the vCenter or its host has lost it")
	case m.mo.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff:
		return m.bar("it is %s: switch it off first", m.mo.Runtime.PowerState)
	case m.mo.Runtime.ConnectionState != types.VirtualMachineConnectionStateConnected:
		return m.bar("it is %s: see to its host", m.mo.Runtime.ConnectionState)
	}
	var names []string
	for n := range nodes(m.mo.Snapshot) {
		names = append(names, fmt.Sprintf("%q", unescape(n.Name)))
	}
	if len(names) > 0 {
		return m.bar("it has %d snapshots (%s): remove them first, they stand on what would be changed", len(names),
			strings.Join(names[:min(len(names), namesTold)], ", "))
	}
	if m.mo.Runtime.ConsolidationNeeded {
		return m.bar("its disks need consolidation: consolidate them first")
	}
	return nil
}

// match holds the machine's disks against the point's.
func (r *inPlace) match(t *Settings) error {
	out := map[string]bool{}
	for _, d := range t.Disks {
		out[d.Key] = d.Excluded
	}
	here := map[string]*disk{}
	for _, x := range disksOf(r.m.mo.Config.Hardware.Device) {
		here[x.key] = x
	}
	look := snapshot{m: r.m}
	for _, f := range r.o.Files {
		x := here[f.Key]
		switch {
		case x == nil:
			return r.m.bar("disk %q (%s) of the point is not there: restore it as a new machine", f.Name, f.Key)
		case x.size != f.Size:
			return r.m.bar("disk %q (%s) has %d bytes, and had %d: restore it as a new machine", x.label, x.key, x.size, f.Size)
		case x.barred() != "":
			return r.m.bar("disk %q %s", x.label, x.barred())
		case x.multi:
			return r.m.bar("disk %q may be written by several machines", x.label)
		}
		if why := look.unflat(x); why != "" {
			return r.m.bar("disk %q: %s", x.label, why)
		}
		r.disks[f.Key] = x
		delete(here, f.Key)
	}
	for key, x := range here {
		if !out[key] {
			return r.m.bar("disk %q (%s) is not in the point: detach it first, or restore as a new machine", x.label, key)
		}
	}
	return nil
}

// flat is where a disk's bytes are.
func (r *inPlace) flat(x *disk) (string, error) {
	p, err := datastorePath(flatName(x.file))
	if err != nil {
		return "", err
	}
	return r.m.fileURL(p, r.places).String(), nil
}

// Stream writes a disk whole, where its datastore takes no ranges.
func (r *inPlace) Stream(ctx context.Context, f source.File) (source.DiskStream, error) {
	x := r.disks[f.Key]
	if x == nil {
		return nil, source.Permanent(fmt.Errorf("disk %s is not of this machine", brief(f.Key)))
	}
	if err := r.distrustOnce(ctx); err != nil {
		return nil, err
	}
	u, err := r.flat(x)
	if err != nil {
		return nil, r.fail(x, "find its flat file", err)
	}
	up, err := r.s.send(ctx, http.MethodPut, u, x.size, "application/octet-stream")
	if err != nil {
		return nil, r.fail(x, "open its upload", err)
	}
	return &rewrite{r: r, x: x, up: up, stop: context.AfterFunc(ctx, up.giveUp)}, nil
}

func (r *inPlace) fail(x *disk, what string, err error) error {
	return r.m.fail(fmt.Sprintf("disk %q (%s): %s", x.label, x.key, what), err)
}

func (r *inPlace) distrustOnce(ctx context.Context) error {
	r.first.Lock()
	defer r.first.Unlock()
	if r.ready {
		return nil
	}
	return r.distrust(ctx)
}

// distrust turns change tracking off before the first byte is changed behind its
// back, and deletes what it kept: the next backup finds another epoch, or none, and
// reads all. A crash from here on leaves it off, which is as safe.
func (r *inPlace) distrust(ctx context.Context) error {
	if err := r.m.look(ctx, "runtime", "snapshot", "config"); err != nil {
		return r.m.fail("look again", err)
	}
	if err := r.m.still(); err != nil {
		return err
	}
	r.track = r.track || deref(r.m.mo.Config.ChangeTrackingEnabled, false) || strings.HasSuffix(r.m.mark(), tracked)
	off, value := false, r.o.Name+unfinished
	if r.track {
		value += tracked
	}
	if err := r.m.reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &off,
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: returnKey, Value: value}}}); err != nil {
		return r.m.fail("turn change tracking off", err)
	}
	// A backup that began meanwhile looks for the mark once its snapshot stands, and
	// we look for snapshots once the mark does: one of us sees the other.
	if err := r.m.look(ctx, "snapshot"); err != nil {
		return r.m.fail("look again", err)
	}
	if err := r.m.still(); err != nil {
		return err
	}
	for _, x := range r.disks {
		ctk := strings.TrimSuffix(x.file, ".vmdk") + "-ctk.vmdk"
		if err := r.delete(ctx, ctk); err != nil {
			return r.fail(x, "delete what change tracking kept", err)
		}
	}
	r.ready = true
	return nil
}

// delete deletes a file of a datastore, if it is there.
func (r *inPlace) delete(ctx context.Context, file string) error {
	at := r.m.mo.Runtime.Host
	if at == nil {
		at = r.m.mo.Parent
	}
	if at == nil {
		return errors.New("the machine is on no host and in no folder")
	}
	dc, ok := r.places.above(*at, "Datacenter")
	if !ok {
		return errors.New("the machine's datacenter can't be seen")
	}
	task, err := object.NewFileManager(r.m.c).DeleteDatastoreFile(ctx, file, object.NewDatacenter(r.m.c, dc))
	if err == nil {
		_, err = r.s.wait(ctx, r.m.c, task.Reference())
	}
	if fault.Is(err, &types.FileNotFound{}) {
		return nil
	}
	return explain(err)
}

// Finish turns change tracking on again if it was. It must have begun anew.
func (r *inPlace) Finish(ctx context.Context) (*source.Returned, error) {
	done := &source.Returned{Machine: r.m.id, Name: r.m.name(), Via: r.via, Kept: true}
	if !r.ready {
		done.Via = viaNothing
		return done, r.power(ctx, done)
	}
	spec := types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: returnKey, Value: r.o.Name}}}
	if r.track {
		spec.ChangeTrackingEnabled = &r.track
	}
	before := r.changeIDs()
	if err := r.m.reconfigure(ctx, spec); err != nil {
		return nil, r.m.fail("turn change tracking on again", err)
	}
	if err := r.m.look(ctx, "config"); err != nil {
		return nil, r.m.fail("look again", err)
	}
	for key, id := range r.changeIDs() {
		was, _, tracked := splitChange(before[key])
		if is, _, ok := splitChange(id); ok && tracked && was == is {
			off := false
			if err := r.m.reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &off}); err != nil {
				return nil, r.m.fail("turn change tracking off", err)
			}
			done.Warnings = append(done.Warnings, "change tracking did not begin anew, and is left off")
			break
		}
	}
	return done, r.power(ctx, done)
}

// viaNothing is said where the disks were as in the point.
const viaNothing = "nothing differed"

// changeIDs are what the machine says of its disks, from before the return if it
// was not asked since.
func (r *inPlace) changeIDs() map[string]string {
	ids := map[string]string{}
	for _, x := range disksOf(r.m.mo.Config.Hardware.Device) {
		ids[x.key] = x.change
	}
	return ids
}

func (r *inPlace) power(ctx context.Context, done *source.Returned) error {
	if !r.o.PowerOn {
		return nil
	}
	if err := r.m.powerOn(ctx); err != nil {
		done.Warnings = append(done.Warnings, fmt.Sprintf("it is restored, and could not be switched on: %v", explain(err)))
	}
	return nil
}

// Abort leaves the disks as far as they are.
func (r *inPlace) Abort(ctx context.Context) error {
	_, err := r.s.EndReturn(ctx, r.o)
	return err
}

// endInPlace finds nothing half made: what a probe left, and the mark, which keeps
// backups away.
func (s *Source) endInPlace(ctx context.Context, o source.Return) (*source.Returned, error) {
	all, err := s.findAll(ctx, o.Machine)
	if err != nil {
		return nil, s.final(fmt.Errorf("machine %q: %w", brief(o.Machine), err))
	}
	for _, m := range all {
		if m.mark() == o.Name {
			return &source.Returned{Machine: m.id, Name: m.name(), Via: viaRanges, Kept: true}, nil
		}
		r := &inPlace{s: s, m: m, o: o}
		if r.places, err = s.nearPlaces(ctx, m.c); err != nil {
			return nil, explain(err)
		}
		if err := r.sweep(ctx); err != nil {
			return nil, err
		}
		rest, open := strings.CutPrefix(m.mark(), o.Name+unfinished)
		if !open {
			continue
		}
		if err := m.reconfigure(ctx, types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: returnKey, Value: o.Name + givenUp + rest}}}); err != nil {
			return nil, m.fail("mark it as given up", err)
		}
	}
	return nil, nil
}

// comingBack keeps a backup from a machine that is being restored: its snapshot
// would stand on bytes that change.
func (m *machine) comingBack() error {
	if mark := m.mark(); strings.Contains(mark, unfinished) {
		return m.fail("back it up", fmt.Errorf("it is being restored (%s); it can be when that has ended", strings.TrimSuffix(mark, tracked)))
	}
	return nil
}

// sweep deletes what a probe left in any folder of the machine's disks.
func (r *inPlace) sweep(ctx context.Context) error {
	seen := map[string]bool{}
	for _, x := range disksOf(r.m.mo.Config.Hardware.Device) {
		p, err := datastorePath(x.file)
		if err != nil || seen[p.Datastore] {
			continue
		}
		seen[p.Datastore] = true
		if err := r.delete(ctx, probeFile(p, r.o.Name)); err != nil {
			return r.m.fail("delete the probe's file", err)
		}
	}
	return nil
}

// probeFile lies beside a disk.
func probeFile(p object.DatastorePath, name string) string {
	p.Path = path.Join(path.Dir(p.Path), name+".probe")
	return p.String()
}
