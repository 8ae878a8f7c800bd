package vsphere

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sort"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// tagObjects is how many objects one question about tags may name.
const tagObjects = 500

// tagsOf gives each object's tags as "category/name", sorted. Names, because the
// ids are others in each domain. A host that is no vCenter has none.
func (s *Source) tagsOf(ctx context.Context, c *vim25.Client, refs []mo.Reference) (map[types.ManagedObjectReference][]string, error) {
	all := map[types.ManagedObjectReference][]string{}
	if len(refs) == 0 || !c.IsVC() {
		return all, nil
	}
	r := rest.NewClient(c)
	password, err := s.o.Password()
	if err != nil {
		return nil, fmt.Errorf("the password of %q: %w", s.o.User, err)
	}
	if err := r.Login(ctx, url.UserPassword(s.o.User, password)); err != nil {
		if rest.IsStatusError(err, http.StatusUnauthorized) {
			return nil, s.wrong("wrong user name or password")
		}
		return nil, err
	}
	defer r.Logout(context.WithoutCancel(ctx))
	m := tags.NewManager(r)
	names := map[string]string{} // by tag id
	for len(refs) > 0 {
		n := min(len(refs), tagObjects)
		found, err := m.ListAttachedTagsOnObjects(ctx, refs[:n])
		if err != nil {
			return nil, err
		}
		refs = refs[n:]
		for _, o := range found {
			for _, id := range o.TagIDs {
				name, err := tagName(ctx, m, names, id)
				if err != nil {
					return nil, err
				}
				ref := o.ObjectID.Reference()
				all[ref] = append(all[ref], name)
			}
		}
	}
	for _, t := range all {
		sort.Strings(t)
	}
	return all, nil
}

// tagName asks for a tag's name, and its category's, once each.
func tagName(ctx context.Context, m *tags.Manager, names map[string]string, id string) (string, error) {
	if name, ok := names[id]; ok {
		return name, nil
	}
	t, err := m.GetTag(ctx, id)
	if err != nil {
		return "", fmt.Errorf("tag %s: %w", id, err)
	}
	category, ok := names[t.CategoryID]
	if !ok {
		c, err := m.GetCategory(ctx, t.CategoryID)
		if err != nil {
			return "", fmt.Errorf("category %s: %w", t.CategoryID, err)
		}
		category = c.Name
		names[t.CategoryID] = category
	}
	names[id] = source.Text(category + "/" + t.Name)
	return names[id], nil
}
