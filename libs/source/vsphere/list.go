package vsphere

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// pageObjects is how many machines one answer of the inventory holds: some 20 KiB
// of devices each, so 10 MiB.
const pageObjects = 500

// listed is what the inventory asks of each machine.
var listed = []string{"name", "parent", "parentVApp", "datastore", "snapshot", "runtime.host", "runtime.connectionState",
	"runtime.consolidationNeeded", "capability.changeTrackingSupported", "config.template", "config.instanceUuid", "config.version",
	"config.changeTrackingEnabled", "config.keyId", "config.hardware.device", "summary.config.instanceUuid", "summary.config.template"}

// List reads the whole inventory in a handful of calls.
func (s *Source) List(ctx context.Context) (*source.Inventory, error) {
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	var vms []types.ObjectContent
	if err := s.view(ctx, c, []string{"VirtualMachine"}, listed, &vms); err != nil {
		return nil, fmt.Errorf("list vCenter %s: %w", s.url.Host, explain(err))
	}
	places, err := s.places(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("list vCenter %s: folders and hosts: %w", s.url.Host, explain(err))
	}
	refs := make([]mo.Reference, len(vms))
	for i := range vms {
		refs[i] = vms[i].Obj
	}
	tags, err := s.tagsOf(ctx, c, refs)
	if err != nil {
		// Without tags, machines would fall out of policies that select by them.
		return nil, fmt.Errorf("list vCenter %s: tags: %w", s.url.Host, err)
	}
	l := &listing{places: places, tags: tags, seen: map[string]int{}, inv: &source.Inventory{}}
	sort.Slice(vms, func(i, j int) bool { return vms[i].Obj.Value < vms[j].Obj.Value })
	for i := range vms {
		l.add(&vms[i])
	}
	return l.inv, nil
}

// view retrieves all objects of some kinds, wherever they are.
func (s *Source) view(ctx context.Context, c *vim25.Client, kinds, props []string, dst *[]types.ObjectContent) error {
	v, err := view.NewManager(c).CreateContainerView(ctx, c.ServiceContent.RootFolder, kinds, true)
	if err != nil {
		return err
	}
	defer v.Destroy(context.WithoutCancel(ctx))
	skip := true
	res, err := property.DefaultCollector(c).RetrieveProperties(ctx, types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{{
		ObjectSet: []types.ObjectSpec{{Obj: v.Reference(), Skip: &skip, SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: v.Reference().Type, Path: "view"}}}},
		PropSet: specs(kinds, props),
	}}}, pageObjects)
	if err != nil {
		return err
	}
	*dst = res.Returnval
	return nil
}

func specs(kinds, props []string) (all []types.PropertySpec) {
	for _, k := range kinds {
		all = append(all, types.PropertySpec{Type: k, PathSet: props})
	}
	return all
}

// listing is one List.
type listing struct {
	places *places
	tags   map[types.ManagedObjectReference][]string
	seen   map[string]int // by instance UUID: its place in the inventory
	inv    *source.Inventory
}

func (l *listing) find(format string, args ...any) {
	l.inv.Findings = append(l.inv.Findings, fmt.Sprintf(format, args...))
}

// add lists one machine. What can't be seen of it is a finding.
func (l *listing) add(o *types.ObjectContent) {
	var vm mo.VirtualMachine
	missing := load(o, &vm)
	name, id := unescape(vm.Name), vm.Summary.Config.InstanceUuid
	template := vm.Summary.Config.Template
	if vm.Config != nil {
		template = template || vm.Config.Template
		if vm.Config.InstanceUuid != "" {
			id = vm.Config.InstanceUuid
		}
	}
	switch at, twice := l.seen[id]; {
	case template:
		l.find("%q is a template: not backed up; clone it to a machine, or convert it", name)
		return
	case id == "":
		l.find("%q (%s) can't be listed: nothing tells its instance UUID%s", name, o.Obj.Value, missing)
		return
	case twice:
		m := &l.inv.Machines[at]
		said := fmt.Sprintf("%q and %q have the same instance UUID %s, and can't be told apart: neither is backed up; give one a new one (vc.uuid)", m.Name, name, id)
		m.Findings = append(m.Findings, said)
		l.find("%s", said)
		return
	}
	l.seen[id] = len(l.inv.Machines)
	m := l.machine(id, &vm, o.Obj)
	if missing != "" {
		m.Findings = append(m.Findings, "is seen only in part"+missing)
	}
	l.inv.Machines = append(l.inv.Machines, m)
}

func (l *listing) machine(id string, vm *mo.VirtualMachine, ref types.ManagedObjectReference) source.Machine {
	p := preflightOf(vm.Config, vm.Capability, vm.Runtime, vm.Snapshot)
	m := source.Machine{ID: id, Name: unescape(vm.Name), Folder: l.places.folder(vm), Tags: l.tags[ref],
		Tracking: p.tracking && p.canTrack(), Findings: p.findings()}
	if vm.Runtime.Host != nil {
		m.Host, m.Cluster = l.places.name(*vm.Runtime.Host), l.places.cluster(*vm.Runtime.Host)
	}
	for _, ds := range vm.Datastore {
		m.Datastores = append(m.Datastores, l.places.name(ds))
	}
	sort.Strings(m.Datastores)
	m.Datastores = slices.Compact(m.Datastores)
	for _, x := range disksOf(p.devices) {
		m.Disks = append(m.Disks, source.Disk{Key: x.key, Size: x.size})
	}
	sort.Slice(m.Disks, func(i, j int) bool { return m.Disks[i].Key < m.Disks[j].Key })
	if len(m.Disks) == 0 {
		m.Findings = append(m.Findings, "no disk")
	}
	return m
}

// load fills what an answer holds, and says what it does not.
func load(o *types.ObjectContent, vm *mo.VirtualMachine) (missing string) {
	for _, x := range o.MissingSet {
		if missing == "" {
			missing = fmt.Sprintf(": %s can't be read: %v", x.Path, explain(faultError(x.Fault)))
		}
	}
	whole := *o
	whole.MissingSet = nil
	if err := mo.LoadObjectContent([]types.ObjectContent{whole}, vm); err != nil && missing == "" {
		missing = ": " + err.Error()
	}
	return missing
}
