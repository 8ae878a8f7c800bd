package vsphere

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// machine is one virtual machine, found for an order.
type machine struct {
	s   *Source
	c   *vim25.Client
	id  string // instance UUID
	ref types.ManagedObjectReference
	mo  mo.VirtualMachine
}

// machineProperties is what an order needs to know of a machine.
var machineProperties = []string{"name", "config", "capability", "runtime", "snapshot", "layoutEx", "customValue", "parent", "guest.toolsRunningStatus"}

// find finds a machine by its instance UUID, and says who it is in every error
// from then on. ErrGone if there is none.
func (s *Source) find(ctx context.Context, id string) (*machine, error) {
	all, err := s.findAll(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", brief(id), err)
	}
	switch len(all) {
	case 0:
		return nil, fmt.Errorf("machine %q: vCenter %s has none of that instance UUID: %w", brief(id), s.url.Host, source.ErrGone)
	case 1:
		return all[0], nil
	}
	return nil, source.Permanent(fmt.Errorf("machine %q: vCenter %s has %d machines of that instance UUID, and which is meant can't be told: "+
		"give all but one a new one (vc.uuid)", id, s.url.Host, len(all)))
}

// findAll finds the machines of an instance UUID: rarely more than one.
func (s *Source) findAll(ctx context.Context, id string) ([]*machine, error) {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return nil, nil // no machine is listed under such an id
	}
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	byInstance := true
	res, err := methods.FindAllByUuid(ctx, c, &types.FindAllByUuid{This: *c.ServiceContent.SearchIndex, Uuid: id, VmSearch: true, InstanceUuid: &byInstance})
	if err != nil {
		return nil, explain(err)
	}
	var all []*machine
	for _, ref := range res.Returnval {
		m := &machine{s: s, c: c, id: id, ref: ref}
		if err := m.look(ctx, machineProperties...); isGone(err, ref) {
			continue
		} else if err != nil {
			return nil, explain(err)
		}
		if m.mo.Config == nil || !m.mo.Config.Template {
			all = append(all, m)
		}
	}
	return all, nil
}

// look asks for properties anew.
func (m *machine) look(ctx context.Context, props ...string) error {
	var now mo.VirtualMachine
	if err := property.DefaultCollector(m.c).RetrieveOne(ctx, m.ref, props, &now); err != nil {
		return err
	}
	for _, p := range props {
		switch p {
		case "name":
			m.mo.Name = now.Name
		case "config":
			m.mo.Config = now.Config
		case "capability":
			m.mo.Capability = now.Capability
		case "runtime":
			m.mo.Runtime = now.Runtime
		case "snapshot":
			m.mo.Snapshot = now.Snapshot
		case "layoutEx":
			m.mo.LayoutEx = now.LayoutEx
		case "customValue":
			m.mo.CustomValue = now.CustomValue
		case "guest.toolsRunningStatus":
			m.mo.Guest = now.Guest
		case "parent":
			m.mo.Parent = now.Parent
		}
	}
	return nil
}

func (m *machine) name() string { return unescape(m.mo.Name) }

// fail names the machine, and explains what its vCenter says.
func (m *machine) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	if isGone(err, m.ref) {
		return fmt.Errorf("machine %q (%s): %s: %w: %w", m.name(), m.id, what, explain(err), source.ErrGone)
	}
	return fmt.Errorf("machine %q (%s): %s: %w", m.name(), m.id, what, explain(err))
}

// unescape gives a name as people know it: a vCenter keeps three characters escaped.
func unescape(name string) string {
	return source.Text(strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`, "%25", "%").Replace(name))
}

// brief keeps an id that is none from filling a log.
func brief(id string) string {
	if len(id) > 64 {
		return id[:64] + "..."
	}
	return id
}
