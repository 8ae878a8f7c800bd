package vsphere

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// labels gives the machine its tags and attributes, by name. What is not defined
// here is told, and not defined: that is the business of who runs the vCenter.
func (r *returning) labels(ctx context.Context) error {
	if err := r.attributes(ctx); err != nil {
		return r.m.fail("restore its attributes", err)
	}
	if len(r.t.Tags) == 0 || !r.m.c.IsVC() {
		return nil
	}
	if err := r.tags(ctx); err != nil {
		return r.m.fail("restore its tags", err)
	}
	return nil
}

func (r *returning) attributes(ctx context.Context) error {
	if len(r.t.Attributes) == 0 {
		return nil
	}
	fields, err := object.GetCustomFieldsManager(r.m.c)
	if err != nil {
		r.warn("its attributes are not restored: %v", explain(err))
		return nil
	}
	defs, err := fields.Field(ctx)
	if err != nil {
		return err
	}
	keys := map[string]int32{}
	for _, d := range defs {
		if d.ManagedObjectType == "" || d.ManagedObjectType == "VirtualMachine" {
			keys[d.Name] = d.Key
		}
	}
	var names []string
	for name := range r.t.Attributes {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		key, ok := keys[name]
		if !ok {
			r.warn("there is no attribute %q here: its value %q is not restored", name, r.t.Attributes[name])
			continue
		}
		if err := fields.Set(ctx, r.m.ref, key, r.t.Attributes[name]); err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}

func (r *returning) tags(ctx context.Context) error {
	c := rest.NewClient(r.m.c)
	password, err := r.s.o.Password()
	if err != nil {
		return fmt.Errorf("the password of %q: %w", r.s.o.User, err)
	}
	if err := c.Login(ctx, url.UserPassword(r.s.o.User, password)); err != nil {
		if rest.IsStatusError(err, http.StatusUnauthorized) {
			return r.s.wrong("wrong user name or password")
		}
		return err
	}
	defer c.Logout(context.WithoutCancel(ctx))
	m := tags.NewManager(c)
	categories, err := m.GetCategories(ctx)
	if err != nil {
		return err
	}
	for _, label := range r.t.Tags {
		id, err := tagID(ctx, m, categories, label)
		if err != nil {
			return fmt.Errorf("tag %q: %w", label, err)
		}
		if id == "" {
			r.warn("there is no tag %q here: it is not restored", label)
			continue
		}
		if err := m.AttachTag(ctx, id, r.m.ref); err != nil {
			return fmt.Errorf("tag %q: %w", label, err)
		}
	}
	return nil
}

// tagID finds "category/name". Either may hold a slash.
func tagID(ctx context.Context, m *tags.Manager, categories []tags.Category, label string) (string, error) {
	for _, c := range categories {
		name, ok := strings.CutPrefix(label, source.Text(c.Name)+"/")
		if !ok {
			continue
		}
		all, err := m.GetTagsForCategory(ctx, c.ID)
		if err != nil {
			return "", err
		}
		for _, t := range all {
			if source.Text(t.Name) == name {
				return t.ID, nil
			}
		}
	}
	return "", nil
}
