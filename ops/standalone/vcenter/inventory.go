package vcenter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// house is where things are in the inventory: written while it is built, and
// under making afterwards.
type house struct {
	making     sync.Mutex
	datacenter *simulator.Datacenter
	hosts      map[string]*simulator.HostSystem
	pools      map[string]types.ManagedObjectReference // of each cluster "C0", and "C0/name" below it
	clusterOf  map[types.ManagedObjectReference]string // host: its cluster
	datastores map[string]*simulator.Datastore
	folders    map[string]types.ManagedObjectReference // "" is the datacenter's own
	order      struct{ hosts, datastores []string }
	tagged     map[string]string // category, and category/name: id
	next       int               // the host of the next machine that names none
}

// build makes one datacenter with its clusters, hosts and datastores.
func (v *VCenter) build() error {
	building.Lock()
	defer building.Unlock()
	m := simulator.VPX()
	m.ServiceContent.About.Version, m.ServiceContent.About.ApiVersion, m.ServiceContent.About.Build = "8.0.2", "8.0.2.0", "22385739"
	m.ServiceContent.About.FullName = "VMware vCenter Server 8.0.2 (simulated for Holdfast)"
	m.Datacenter, m.Cluster, m.ClusterHost, m.Host, m.Datastore, m.Machine, m.Portgroup = 1, v.Clusters, v.Hosts, 0, 0, 0, 1
	v.model = m
	if err := m.Create(); err != nil {
		return err
	}
	// The simulator gives the random UUID to a copy, so all its instances are one.
	m.Map().Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.About.InstanceUuid = v.UUID

	v.datacenter = m.Map().Any("Datacenter").(*simulator.Datacenter)
	v.hosts, v.pools, v.clusterOf = map[string]*simulator.HostSystem{}, map[string]types.ManagedObjectReference{}, map[types.ManagedObjectReference]string{}
	v.datastores, v.folders = map[string]*simulator.Datastore{}, map[string]types.ManagedObjectReference{"": v.datacenter.VmFolder}
	for i := range v.Clusters {
		v.nameCluster(i)
	}
	for i := range v.Datastores {
		if err := v.addDatastore(fmt.Sprintf("ds-%d", i)); err != nil {
			return err
		}
	}
	return nil
}

// nameCluster gives a cluster and its hosts names that a person can type.
func (v *VCenter) nameCluster(i int) {
	c := v.ctx()
	for _, e := range v.model.Map().All("ClusterComputeResource") {
		cluster := e.(*simulator.ClusterComputeResource)
		if cluster.Name != fmt.Sprintf("DC0_C%d", i) {
			continue
		}
		name := fmt.Sprintf("C%d", i)
		v.rename(c, cluster, name)
		v.pools[name] = *cluster.ResourcePool
		for _, ref := range cluster.Host {
			host := v.model.Map().Get(ref).(*simulator.HostSystem)
			hostName := fmt.Sprintf("esx-%d", len(v.order.hosts))
			v.rename(c, host, hostName)
			c.Map.AtomicUpdate(c, host, []types.PropertyChange{{Name: "summary.config.name", Val: hostName}})
			v.hosts[hostName] = host
			v.clusterOf[ref] = name
			v.order.hosts = append(v.order.hosts, hostName)
		}
	}
}

func (v *VCenter) rename(c *simulator.Context, e mo.Entity, name string) {
	c.Map.AtomicUpdate(c, e, []types.PropertyChange{{Name: "name", Val: name}})
}

func (v *VCenter) addDatastore(name string) error {
	dir := filepath.Join(v.Dir, "datastores", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	c := v.ctx()
	for _, h := range v.order.hosts {
		host := v.hosts[h]
		sys := v.model.Map().Get(*host.ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem)
		res := sys.CreateLocalDatastore(c, &types.CreateLocalDatastore{This: sys.Self, Name: name, Path: dir})
		if f := res.Fault(); f != nil {
			return fmt.Errorf("datastore %s: %s", name, f.String)
		}
		ref := res.(*methods.CreateLocalDatastoreBody).Res.Returnval
		if v.datastores[name] == nil {
			v.datastores[name] = v.model.Map().Get(v.hostDatastore(host, name, ref)).(*simulator.Datastore)
		}
	}
	ds := v.datastores[name]
	c.Map.AtomicUpdate(c, ds, []types.PropertyChange{
		{Name: "summary.type", Val: "VMFS"}, {Name: "summary.capacity", Val: v.DatastoreSize}, {Name: "summary.freeSpace", Val: v.DatastoreSize},
	})
	v.order.datastores = append(v.order.datastores, name)
	return nil
}

// hostDatastore is the datastore of that name on a host: the simulator answers a
// second mount with a reference of its own making.
func (v *VCenter) hostDatastore(h *simulator.HostSystem, name string, ref types.ManagedObjectReference) types.ManagedObjectReference {
	if e := v.model.Map().FindByName(name, h.Datastore); e != nil {
		return e.Reference()
	}
	return ref
}

// folderFor finds or makes a folder of machines by its path, "web/front".
func (v *VCenter) folderFor(path string) (*simulator.Folder, error) {
	v.making.Lock()
	defer v.making.Unlock()
	at, done := v.folders[""], ""
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		done = strings.Trim(done+"/"+name, "/")
		ref, ok := v.folders[done]
		if !ok || v.model.Map().Get(ref) == nil {
			parent := v.model.Map().Get(at).(*simulator.Folder)
			if e := v.model.Map().FindByName(name, parent.ChildEntity); e != nil {
				ref = e.Reference()
			} else {
				var res soap.HasFault
				c := v.ctx()
				c.WithLock(parent, func() { res = parent.CreateFolder(c, &types.CreateFolder{This: at, Name: name}) })
				if f := res.Fault(); f != nil {
					return nil, fmt.Errorf("folder %s: %s", done, f.String)
				}
				ref = res.(*methods.CreateFolderBody).Res.Returnval
			}
			v.folders[done] = ref
		}
		at = ref
	}
	return v.model.Map().Get(at).(*simulator.Folder), nil
}

// poolFor finds or makes a resource pool of a cluster; "" is the cluster's own.
func (v *VCenter) poolFor(cluster, name string) (types.ManagedObjectReference, error) {
	v.making.Lock()
	defer v.making.Unlock()
	root := v.pools[cluster]
	if name == "" {
		return root, nil
	}
	if ref, ok := v.pools[cluster+"/"+name]; ok {
		return ref, nil
	}
	parent := v.model.Map().Get(root).(*simulator.ResourcePool)
	var res soap.HasFault
	c := v.ctx()
	c.WithLock(parent, func() {
		res = parent.CreateResourcePool(c, &types.CreateResourcePool{This: root, Name: name, Spec: types.DefaultResourceConfigSpec()})
	})
	if f := res.Fault(); f != nil {
		return root, fmt.Errorf("resource pool %s: %s", name, f.String)
	}
	ref := res.(*methods.CreateResourcePoolBody).Res.Returnval
	v.pools[cluster+"/"+name] = ref
	return ref, nil
}

// place picks the host and the datastore of a machine that names none: in turn.
func (v *VCenter) place(m *Machine) error {
	v.making.Lock()
	defer v.making.Unlock()
	if m.Host == "" {
		m.Host = v.order.hosts[v.next%len(v.order.hosts)]
	}
	if m.Datastore == "" {
		m.Datastore = v.order.datastores[v.next%len(v.order.datastores)]
	}
	v.next++
	if v.hosts[m.Host] == nil {
		return fmt.Errorf("there is no host %s", m.Host)
	}
	if v.datastores[m.Datastore] == nil {
		return fmt.Errorf("there is no datastore %s", m.Datastore)
	}
	return nil
}
