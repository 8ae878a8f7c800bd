package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// site is where a new machine goes: each part looked for, and fitting the others.
type site struct {
	c       *vim25.Client
	places  *places
	folder  types.ManagedObjectReference
	compute types.ManagedObjectReference // of the pool
	pool    types.ManagedObjectReference
	host    types.ManagedObjectReference
	store   string                             // the datastore of its home
	stores  map[string]bool                    // what the host mounts
	moved   bool                               // all of it goes to store
	net     map[string]object.NetworkReference // by the name that it had
}

// site finds what the order names, and where it names nothing, where the machine was.
func (s *Source) site(ctx context.Context, o source.Return, t *Settings) (*site, error) {
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	places, err := s.inventory(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("look at folders and datastores: %w", explain(err))
	}
	at := &site{c: c, places: places, net: map[string]object.NetworkReference{}, moved: o.Datastore != ""}
	if at.folder, err = places.only("folder", kindFolder, either(o.Folder, t.Folder), o.Folder == ""); err != nil {
		return nil, err
	}
	if at.store, err = homeOf(o, t); err != nil {
		return nil, err
	}
	if err := at.findPool(ctx, s, o); err != nil {
		return nil, err
	}
	dc, _ := places.above(at.compute, "Datacenter")
	if in, ok := places.above(at.folder, "Datacenter"); !ok || in != dc {
		return nil, source.Refuse(fmt.Errorf("folder %s is not in the datacenter of pool %s", places.path(&at.folder), places.poolPath(at.pool)))
	}
	if err := at.findHost(ctx, o, t); err != nil {
		return nil, err
	}
	return at, at.free(ctx, either(o.As, t.Name))
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// homeOf is the datastore of a machine's home.
func homeOf(o source.Return, t *Settings) (string, error) {
	if o.Datastore != "" {
		return o.Datastore, nil
	}
	p, err := datastorePath(t.Config.Files.VmPathName)
	if err != nil {
		return "", source.Refuse(fmt.Errorf("where the machine was is not kept (%w): name a datastore", err))
	}
	return p.Datastore, nil
}

// findPool finds the pool that is named, that of the machine if it is there, or
// the only one from which the datastore can be reached.
func (at *site) findPool(ctx context.Context, s *Source, o source.Return) (err error) {
	stores := at.places.named(kindDatastore, at.store)
	if len(stores) == 0 {
		_, err := at.places.only("datastore", kindDatastore, at.store, o.Datastore == "")
		return err
	}
	if o.Pool != "" {
		if at.pool, err = at.places.only("pool", kindPool, o.Pool, false); err != nil {
			return err
		}
		return at.rootPool()
	}
	var pool mo.VirtualMachine
	if all, err := s.findAll(ctx, o.Machine); err != nil {
		return err
	} else if len(all) == 1 {
		if err := property.DefaultCollector(at.c).RetrieveOne(ctx, all[0].ref, []string{"resourcePool"}, &pool); err != nil {
			return explain(err)
		}
	}
	if pool.ResourcePool != nil {
		at.pool = *pool.ResourcePool
		return at.rootPool()
	}
	var fit []types.ManagedObjectReference
	for ref := range at.places.all {
		if ref.Type != "ComputeResource" && ref.Type != "ClusterComputeResource" {
			continue
		}
		var cr mo.ComputeResource
		if err := property.DefaultCollector(at.c).RetrieveOne(ctx, ref, []string{"datastore"}, &cr); err != nil {
			return explain(err)
		}
		if slices.ContainsFunc(cr.Datastore, func(ds types.ManagedObjectReference) bool { return slices.Contains(stores, ds) }) {
			fit = append(fit, ref)
		}
	}
	if len(fit) != 1 {
		return source.Refuse(fmt.Errorf("datastore %q can be reached from %s: name a pool", at.store, at.places.list(fit)))
	}
	at.pool = fit[0]
	return at.rootPool()
}

// rootPool makes a pool of a cluster, and notes whose pool it is.
func (at *site) rootPool() error {
	var ok bool
	if at.compute, ok = at.places.above(at.pool, "ComputeResource", "ClusterComputeResource"); !ok {
		return source.Refuse(fmt.Errorf("pool %s is in no cluster and on no host", at.places.path(&at.pool)))
	}
	if at.pool != at.compute {
		return nil
	}
	for ref, p := range at.places.all {
		if ref.Type == "ResourcePool" && p.parent != nil && *p.parent == at.compute {
			at.pool = ref
			return nil
		}
	}
	return fmt.Errorf("the pool of %s can't be seen: the account lacks a right on it", at.places.path(&at.compute))
}

// findHost finds a host of the cluster that can run the machine, and the networks
// as that host sees them. A cluster that balances by itself moves it at its start.
func (at *site) findHost(ctx context.Context, o source.Return, t *Settings) error {
	pc := property.DefaultCollector(at.c)
	var cr mo.ComputeResource
	if err := pc.RetrieveOne(ctx, at.compute, []string{"host"}, &cr); err != nil {
		return explain(err)
	}
	var why error
	for _, ref := range cr.Host {
		var h mo.HostSystem
		if err := pc.RetrieveOne(ctx, ref, []string{"name", "runtime", "datastore", "network"}, &h); err != nil {
			return explain(err)
		}
		err := at.fits(&h, o, t)
		if err == nil {
			at.host = ref
			return nil
		}
		why = errors.Join(why, err)
	}
	if why == nil {
		why = errors.New("it has none")
	}
	return source.Refuse(fmt.Errorf("no host of %s can take the machine: %w", at.places.path(&at.compute), why))
}

// fits holds one host against what the machine needs.
func (at *site) fits(h *mo.HostSystem, o source.Return, t *Settings) error {
	name := unescape(h.Name)
	switch {
	case h.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return fmt.Errorf("host %q is %s", name, h.Runtime.ConnectionState)
	case h.Runtime.InMaintenanceMode:
		return fmt.Errorf("host %q is in maintenance mode", name)
	}
	at.stores = map[string]bool{}
	for _, ds := range h.Datastore {
		at.stores[at.places.name(ds)] = true
	}
	if !at.stores[at.store] {
		return fmt.Errorf("host %q does not mount datastore %q", name, at.store)
	}
	clear(at.net)
	here := map[string]types.ManagedObjectReference{}
	for _, n := range h.Network {
		here[at.places.name(n)] = n
	}
	for _, n := range t.Networks {
		want := either(o.Networks[n.Network], n.Network)
		ref, ok := here[want]
		if !ok {
			return fmt.Errorf("host %q has no network %q, which %q is to be on", name, want, n.Label)
		}
		if net, ok := object.NewReference(at.c, ref).(object.NetworkReference); ok {
			at.net[n.Network] = net
		}
	}
	return nil
}

// free refuses a name that is taken in the folder.
func (at *site) free(ctx context.Context, name string) error {
	pc := property.DefaultCollector(at.c)
	var f mo.Folder
	if err := pc.RetrieveOne(ctx, at.folder, []string{"childEntity"}, &f); err != nil {
		return explain(err)
	}
	if len(f.ChildEntity) == 0 {
		return nil
	}
	var there []mo.ManagedEntity
	if err := pc.Retrieve(ctx, f.ChildEntity, []string{"name"}, &there); err != nil {
		return explain(err)
	}
	for _, e := range there {
		if unescape(e.Name) == name {
			return taken(at, name)
		}
	}
	return nil
}

func taken(at *site, name string) error {
	return source.Refuse(fmt.Errorf("there is a machine %q in folder %s already: give another name or folder", name, at.places.path(&at.folder)))
}
