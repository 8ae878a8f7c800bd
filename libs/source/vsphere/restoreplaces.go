package vsphere

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// namedMost bounds how many names a refusal offers.
const namedMost = 8

// inventory is all that a restored machine can be put into, as it is now.
func (s *Source) inventory(ctx context.Context, c *vim25.Client) (*places, error) {
	var all []types.ObjectContent
	kinds := []string{"Folder", "Datacenter", "ComputeResource", "HostSystem", "ResourcePool", "Datastore", "Network"}
	if err := s.view(ctx, c, kinds, []string{"name", "parent"}, &all); err != nil {
		return nil, err
	}
	p := &places{all: map[types.ManagedObjectReference]place{}, root: c.ServiceContent.RootFolder, at: time.Now()}
	for i := range all {
		p.all[all[i].Obj] = placeOf(&all[i])
	}
	return p, nil
}

// placeOf reads an answer. What may not be seen has no name. By hand, because
// govmomi's loader knows a network's name, but not as an entity's.
func placeOf(o *types.ObjectContent) (at place) {
	for _, p := range o.PropSet {
		switch v := p.Val.(type) {
		case string:
			at.name = v
		case types.ManagedObjectReference:
			at.parent = &v
		}
	}
	return at
}

// Kinds of places, by the types of their references.
var (
	kindFolder    = []string{"Folder"}
	kindDatastore = []string{"Datastore"}
	kindPool      = []string{"ResourcePool", "VirtualApp", "ComputeResource", "ClusterComputeResource"}
)

// poolPath is where a pool is, as people see it: the first pool of a cluster has
// no name of its own.
func (p *places) poolPath(ref types.ManagedObjectReference) string {
	return strings.Replace(p.path(&ref), "/Resources", "", 1)
}

// named finds the places that a person may mean: by whole path, by the end of it,
// or by a name.
func (p *places) named(kinds []string, want string) (found []types.ManagedObjectReference) {
	want = strings.TrimSuffix(want, "/")
	for ref, at := range p.all {
		if !oneOf(kinds, ref.Type) {
			continue
		}
		path := p.path(&ref)
		if ref.Type == "ResourcePool" || ref.Type == "VirtualApp" {
			path = p.poolPath(ref)
			if at.parent != nil && path == p.poolPath(*at.parent) {
				continue // its cluster stands for it
			}
		}
		if path == want || p.path(&ref) == want || strings.HasSuffix(path, "/"+want) || unescape(at.name) == want {
			found = append(found, ref)
		}
	}
	sort.Slice(found, func(i, j int) bool { return p.path(&found[i]) < p.path(&found[j]) })
	return found
}

func oneOf(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// only gives the one place that a person can mean, or a refusal that names what
// there is. was says that nobody named it: it is where the machine was.
func (p *places) only(what string, kinds []string, want string, was bool) (ref types.ManagedObjectReference, err error) {
	found := p.named(kinds, want)
	if len(found) == 1 {
		return found[0], nil
	}
	said := fmt.Sprintf("%s %q", what, want)
	if was {
		said += ", where the machine was,"
	}
	if len(found) > 1 {
		return ref, source.Refuse(fmt.Errorf("%s may be %s: name it by its path", said, p.list(found)))
	}
	var all []types.ManagedObjectReference
	for ref := range p.all {
		if oneOf(kinds, ref.Type) && ref.Type != "ResourcePool" {
			all = append(all, ref)
		}
	}
	return ref, source.Refuse(fmt.Errorf("%s is not here; there is %s", said, p.list(all)))
}

// list names places, some of them if there are many.
func (p *places) list(refs []types.ManagedObjectReference) string {
	var names []string
	for _, ref := range refs {
		names = append(names, p.path(&ref))
	}
	sort.Strings(names)
	more := ""
	if len(names) > namedMost {
		more = fmt.Sprintf(" and %d more", len(names)-namedMost)
		names = names[:namedMost]
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ") + more
}

// above is the nearest place of a type that something is in, or itself.
func (p *places) above(at types.ManagedObjectReference, kinds ...string) (ref types.ManagedObjectReference, ok bool) {
	for range depthMax {
		if oneOf(kinds, at.Type) {
			return at, true
		}
		up := p.all[at].parent
		if up == nil {
			break
		}
		at = *up
	}
	return ref, false
}
