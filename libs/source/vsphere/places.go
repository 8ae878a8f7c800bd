package vsphere

import (
	"context"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// depthMax bounds the way up to the root: inventories are a handful deep, and a
// loop would be a bug of the vCenter's.
const depthMax = 64

// place is one thing of the inventory that others are in.
type place struct {
	name   string
	parent *types.ManagedObjectReference
}

// places are the folders, hosts, clusters, datastores and networks of an inventory.
type places struct {
	all  map[types.ManagedObjectReference]place
	root types.ManagedObjectReference
	at   time.Time
}

// placesFor is how long folders and hosts are believed to stand where they were: a
// run of hundreds of machines asks once, not hundreds of times.
const placesFor = time.Minute

// nearPlaces are those of a moment ago, or of now.
func (s *Source) nearPlaces(ctx context.Context, c *vim25.Client) (*places, error) {
	s.mu.Lock()
	p := s.near
	s.mu.Unlock()
	if p != nil && time.Since(p.at) < placesFor {
		return p, nil
	}
	return s.places(ctx, c)
}

func (s *Source) places(ctx context.Context, c *vim25.Client) (*places, error) {
	var all []types.ObjectContent
	kinds := []string{"Folder", "Datacenter", "ComputeResource", "HostSystem", "Datastore", "VirtualApp", "Network", "DistributedVirtualPortgroup"}
	if err := s.view(ctx, c, kinds, []string{"name", "parent"}, &all); err != nil {
		return nil, err
	}
	p := &places{all: map[types.ManagedObjectReference]place{}, root: c.ServiceContent.RootFolder, at: time.Now()}
	for i := range all {
		p.all[all[i].Obj] = placeOf(&all[i])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.near = p
	return p, nil
}

func (p *places) name(ref types.ManagedObjectReference) string { return unescape(p.all[ref].name) }

// cluster is that of a host, or nothing: a host that stands alone has a compute
// resource of its own name, which is none.
func (p *places) cluster(host types.ManagedObjectReference) string {
	if at := p.all[host].parent; at != nil && at.Type == "ClusterComputeResource" {
		return p.name(*at)
	}
	return ""
}

// folder is the path of the folder that a machine is in, as /DC0/vm/web. Within
// an element, a slash stays escaped, so that the path can be read.
func (p *places) folder(vm *mo.VirtualMachine) string {
	at := vm.Parent
	if at == nil {
		at = vm.ParentVApp
	}
	return p.path(at)
}

func (p *places) path(at *types.ManagedObjectReference) string {
	var up []string
	for range depthMax {
		if at == nil || *at == p.root {
			break
		}
		here := p.all[*at]
		up = append(up, strings.ReplaceAll(unescape(here.name), "/", "%2f"))
		at = here.parent
	}
	var b strings.Builder
	for i := len(up) - 1; i >= 0; i-- {
		b.WriteString("/" + up[i])
	}
	return b.String()
}

// datacenter is the inventory path of the datacenter that something is in, as the
// datastores' HTTP service wants it: with names as the vCenter keeps them.
func (p *places) datacenter(at types.ManagedObjectReference) string {
	ref := &at
	for range depthMax {
		if ref == nil || ref.Type == "Datacenter" {
			break
		}
		ref = p.all[*ref].parent
	}
	var path string
	for range depthMax {
		if ref == nil || *ref == p.root {
			break
		}
		path = "/" + p.all[*ref].name + path
		ref = p.all[*ref].parent
	}
	return path
}
