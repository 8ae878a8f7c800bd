package vsphere

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// keptSettings reads the settings that a point has kept of its machine.
func keptSettings(o source.Return) (*Settings, error) {
	b, ok := o.Kept[keySettings]
	if !ok {
		return nil, source.Refuse(fmt.Errorf("the point has no %s: it is of no machine of a vCenter", keySettings))
	}
	t, err := DecodeSettings(bytes.NewReader(b))
	if err != nil {
		return nil, source.Refuse(err)
	}
	return t, nil
}

// Return makes a machine of the kept settings, with empty disks, and leases them
// for writing; or opens the disks of the one that is there.
func (s *Source) Return(ctx context.Context, o source.Return) (source.Returning, error) {
	t, err := keptSettings(o)
	if err != nil {
		return nil, err
	}
	name := either(o.As, t.Name)
	if strings.TrimSpace(name) == "" {
		return nil, source.Refuse(errors.New("the machine has no name: give one"))
	}
	var r source.Returning
	if o.InPlace {
		r, err = s.inPlace(ctx, o, t)
	} else {
		r, err = s.anew(ctx, o, t, name)
	}
	if err != nil {
		return nil, s.final(fmt.Errorf("bring back machine %q: %w", name, err))
	}
	return r, nil
}

// returning is a new machine whose disks are being written.
type returning struct {
	*plan
	s     *Source
	l     *lease
	m     *machine
	ended bool // the lease is given back
}

func (s *Source) anew(ctx context.Context, o source.Return, t *Settings, name string) (*returning, error) {
	if err := knownNetworks(o, t); err != nil {
		return nil, err
	}
	at, err := s.site(ctx, o, t)
	if err != nil {
		return nil, err
	}
	p := &plan{o: o, t: t, at: at, name: name, kept: !o.Copy, files: map[string]source.File{}, backings: map[string]types.BaseVirtualDeviceBackingInfo{}}
	for _, f := range o.Files {
		p.files[f.Key] = f
	}
	there, err := s.findAll(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		p.kept = false
	}
	for old, net := range at.net {
		if p.backings[old], err = net.EthernetCardBackingInfo(ctx); err != nil {
			return nil, fmt.Errorf("network %q: %w", either(o.Networks[old], old), explain(err))
		}
	}
	spec := p.spec()
	if len(p.disks) != len(o.Files) {
		return nil, source.Refuse(fmt.Errorf("the point has %d disks, and its %s knows %d of them", len(o.Files), keySettings, len(p.disks)))
	}
	r := &returning{plan: p, s: s}
	if r.l, err = s.importVM(ctx, p, spec); err != nil {
		return nil, p.refusal(err)
	}
	r.m = &machine{s: s, c: at.c, ref: r.l.info.Entity}
	if err := r.m.look(ctx, machineProperties...); err != nil {
		return nil, errors.Join(explain(err), r.Abort(context.WithoutCancel(ctx)))
	}
	r.m.id = r.m.mo.Config.InstanceUuid
	if p.kept {
		r.compare()
	}
	return r, nil
}

// compare says where the vCenter gave the machine other ids than it had: it may
// override what it takes for a duplicate, or for out of its range.
func (r *returning) compare() {
	if r.m.id != r.t.ID {
		r.warn("the vCenter gave it another instance UUID than it had: %s", r.m.id)
	}
	now := map[string]bool{}
	for _, d := range r.m.mo.Config.Hardware.Device {
		if e, ok := d.(types.BaseVirtualEthernetCard); ok {
			now[strings.ToLower(e.GetVirtualEthernetCard().MacAddress)] = true
		}
	}
	for _, n := range r.t.Networks {
		if n.MAC != "" && !now[strings.ToLower(n.MAC)] && r.backings[n.Network] != nil {
			r.warn("the vCenter gave %s another MAC address than it had, %s", n.Label, n.MAC)
		}
	}
}

// knownNetworks refuses a mapping of a network that the machine was not on: it is
// most likely misspelt.
func knownNetworks(o source.Return, t *Settings) error {
	had := map[string]bool{}
	var names []string
	for _, n := range t.Networks {
		if !had[n.Network] {
			had[n.Network] = true
			names = append(names, fmt.Sprintf("%q", n.Network))
		}
	}
	sort.Strings(names)
	for old := range o.Networks {
		if !had[old] {
			return source.Refuse(fmt.Errorf("the machine was on no network %q; it was on %s", old, either(strings.Join(names, ", "), "none")))
		}
	}
	return nil
}

// refusal sorts what a vCenter says of a new machine: into what the order can
// cure, what a person must see to, and the weather.
func (p *plan) refusal(err error) error {
	var taken *types.DuplicateName
	var there *types.AlreadyExists
	var room *types.NoDiskSpace
	var right *types.NoPermission
	var config types.BaseInvalidVmConfig
	switch {
	case is(err, &taken), is(err, &there):
		return source.Refuse(fmt.Errorf("there is a machine %q in folder %s already: give another name or folder", p.name, p.at.places.path(&p.at.folder)))
	case is(err, &room), is(err, &right), is(err, &config), fault.Is(err, &types.InvalidArgument{}), fault.Is(err, &types.NotSupported{}),
		fault.Is(err, &types.InvalidDatastorePath{}):
		return source.Permanent(explain(err))
	}
	return explain(err)
}

// Abort gives the lease back, and looks that the machine is gone with it.
func (r *returning) Abort(ctx context.Context) error {
	if r.m != nil {
		var m mo.VirtualMachine
		err := property.DefaultCollector(r.m.c).RetrieveOne(ctx, r.m.ref, []string{"config.extraConfig"}, &m)
		if r.m.mo.Config = m.Config; err == nil && r.m.mark() == r.o.Name {
			return nil // it was finished
		}
	}
	_, err := r.s.EndReturn(ctx, r.o)
	return err
}

// Disk is for a return in place only.
func (r *returning) Disk(context.Context, source.File) (source.DiskInPlace, error) {
	return nil, source.Permanent(errors.New("a new machine's disk is written whole"))
}

// Stream opens the upload of a disk.
func (r *returning) Stream(ctx context.Context, f source.File) (source.DiskStream, error) {
	for _, x := range r.disks {
		if x.key == f.Key {
			up, err := r.upload(ctx, x)
			if err != nil {
				return nil, r.m.fail(fmt.Sprintf("disk %q: open its upload", x.label), r.l.why(err))
			}
			return up, nil
		}
	}
	return nil, source.Permanent(fmt.Errorf("disk %s is not of this machine", brief(f.Key)))
}

var _ source.Destination = (*Source)(nil)
