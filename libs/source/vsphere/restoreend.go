package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// returnKey is in the extraConfig of each machine that was brought back, and says
// by which order. While it is half made, unfinished follows; givenUp, when it was in
// place and is not gone on with.
const (
	returnKey  = "holdfast.restore"
	unfinished = " (unfinished)"
	givenUp    = " (given up)"
)

// Has reports whether there is a machine of that instance UUID.
func (s *Source) Has(ctx context.Context, id string) (bool, error) {
	all, err := s.findAll(ctx, id)
	if err != nil {
		return false, s.final(fmt.Errorf("machine %q: %w", brief(id), err))
	}
	return len(all) > 0, nil
}

// EndReturn looks for machines that bear the order's mark.
func (s *Source) EndReturn(ctx context.Context, o source.Return) (*source.Returned, error) {
	s.abortLeases(ctx, o.Name)
	if o.InPlace {
		return s.endInPlace(ctx, o)
	}
	all, err := s.marked(ctx, o)
	if err != nil {
		return nil, s.final(fmt.Errorf("look for what %s left: %w", o.Name, err))
	}
	for _, m := range all {
		switch m.mark() {
		case o.Name:
			return m.returned(o), nil
		case o.Name + unfinished:
			if err := m.destroy(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// mark is the machine's returnKey.
func (m *machine) mark() string {
	if m.mo.Config == nil {
		return ""
	}
	for _, e := range m.mo.Config.ExtraConfig {
		if v := e.GetOptionValue(); v.Key == returnKey {
			s, _ := v.Value.(string)
			return s
		}
	}
	return ""
}

func (m *machine) returned(o source.Return) *source.Returned {
	id := m.mo.Config.InstanceUuid
	r := &source.Returned{Machine: id, Name: m.name(), Via: TransportNFC, Kept: id == o.Machine}
	if o.PowerOn && m.mo.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		r.Warnings = append(r.Warnings, "it is whole, and is not switched on")
	}
	return r
}

// marked finds the machines that an order may have made: by the ids that it gives,
// and by the name, for a vCenter that gave the machine another id.
func (s *Source) marked(ctx context.Context, o source.Return) (all []*machine, err error) {
	add := func(m *machine) {
		if strings.HasPrefix(m.mark(), o.Name) && !slices.ContainsFunc(all, func(x *machine) bool { return x.ref == m.ref }) {
			all = append(all, m)
		}
	}
	for _, id := range []string{freshID(o.Name, "instance"), o.Machine} {
		found, err := s.findAll(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			add(m)
		}
	}
	name := o.As
	if t, err := keptSettings(o); err == nil {
		name = either(name, t.Name)
	}
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	var vms []types.ObjectContent
	if err := s.view(ctx, c, []string{"VirtualMachine"}, []string{"name"}, &vms); err != nil {
		return nil, explain(err)
	}
	for i := range vms {
		var vm mo.VirtualMachine
		if load(&vms[i], &vm); unescape(vm.Name) != name {
			continue
		}
		m := &machine{s: s, c: c, ref: vms[i].Obj}
		if err := m.look(ctx, machineProperties...); isGone(err, m.ref) {
			continue
		} else if err != nil {
			return nil, explain(err)
		}
		if m.mo.Config != nil {
			m.id = m.mo.Config.InstanceUuid
		}
		add(m)
	}
	return all, nil
}

// destroy removes a half-made machine with its files. One that a lease holds yet,
// of a process that died, goes when the lease has timed out.
func (m *machine) destroy(ctx context.Context) error {
	m.s.log.Warn("remove a half-restored machine", "machine", m.name(), "mark", m.mark())
	res, err := methods.Destroy_Task(ctx, m.c, &types.Destroy_Task{This: m.ref})
	if err == nil {
		_, err = m.s.wait(ctx, m.c, res.Returnval)
	}
	if err != nil && !isGone(err, m.ref) {
		if fault.Is(err, &types.MethodDisabled{}) || fault.Is(err, &types.TaskInProgress{}) {
			err = fmt.Errorf("a lease that died holds it yet: %w", explain(err))
		}
		return m.fail("remove what is half restored", err)
	}
	var left mo.VirtualMachine
	err = property.DefaultCollector(m.c).RetrieveOne(ctx, m.ref, []string{"name"}, &left)
	switch {
	case isGone(err, m.ref):
		return nil
	case err != nil:
		return m.fail("look whether it is gone", err)
	}
	return m.fail("remove what is half restored", errors.New("the vCenter says it is done, and it is still there"))
}

// final marks what waiting does not cure for somebody who waits for a restore: a
// backup is tried again for a day, in which a password may be put right.
func (s *Source) final(err error) error {
	var u *untrusted
	if errors.Is(err, errDenied) || errors.As(err, &u) {
		return source.Permanent(err)
	}
	return err
}

// errDenied is a vCenter that lets us not in.
var errDenied = errors.New("access denied")

type denied struct{ error }

func (d denied) Unwrap() error        { return d.error }
func (d denied) Is(target error) bool { return target == errDenied }
