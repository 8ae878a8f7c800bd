package vcenter

import (
	"context"
	"fmt"
	"net/url"
	"sort"
	"strings"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// label puts its tags on a machine; categories and tags are made as they are met.
// All of it goes through the simulator's REST door: what it does with tags behind
// the other one it does without a lock.
func (v *VCenter) label(m *machine) error {
	if len(m.spec.Tags) == 0 {
		return nil
	}
	ctx := context.Background()
	tm, err := v.tagManager(ctx)
	if err != nil {
		return err
	}
	defer tm.Logout(ctx)
	for _, t := range m.spec.Tags {
		category, name, ok := strings.Cut(t, "/")
		if !ok {
			category, name = "holdfast", t
		}
		id, err := v.tag(ctx, tm, category, name)
		if err == nil {
			err = tm.AttachTag(ctx, id, m.ref)
		}
		if err != nil {
			return fmt.Errorf("tag %s: %w", t, err)
		}
	}
	return nil
}

// tag makes a category and a tag in it, once.
func (v *VCenter) tag(ctx context.Context, tm *tags.Manager, category, name string) (id string, err error) {
	v.making.Lock()
	defer v.making.Unlock()
	if v.tagged == nil {
		v.tagged = map[string]string{}
	}
	if id := v.tagged[category+"/"+name]; id != "" {
		return id, nil
	}
	if v.tagged[category] == "" {
		id, err := tm.CreateCategory(ctx, &tags.Category{Name: category, Cardinality: "MULTIPLE", AssociableTypes: []string{"VirtualMachine"}})
		if err != nil {
			return "", err
		}
		v.tagged[category] = id
	}
	if id, err = tm.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: v.tagged[category]}); err != nil {
		return "", err
	}
	v.tagged[category+"/"+name] = id
	return id, nil
}

func (v *VCenter) tagManager(ctx context.Context) (*tags.Manager, error) {
	u := v.url
	u.Path = vim25.Path
	sc := soap.NewClient(&u, false)
	sc.SetThumbprint(u.Host, v.Thumbprint())
	vc, err := vim25.NewClient(ctx, sc)
	if err != nil {
		return nil, err
	}
	rc := rest.NewClient(vc)
	if err := rc.Login(ctx, url.UserPassword(v.User, v.Password)); err != nil {
		return nil, err
	}
	return tags.NewManager(rc), nil
}

// attribute gives a machine its custom attributes.
func (v *VCenter) attribute(m *machine) error {
	names := make([]string, 0, len(m.spec.Attributes))
	for n := range m.spec.Attributes {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		key, err := v.field(n)
		if err != nil {
			return err
		}
		fields, c := v.model.Map().CustomFieldsManager(), v.ctx()
		var f *soap.Fault
		c.WithLock(fields, func() {
			f = fields.SetField(c, &types.SetField{Entity: m.ref, Key: key, Value: m.spec.Attributes[n]}).Fault()
		})
		if f != nil {
			return fmt.Errorf("custom attribute %s: %s", n, f.String)
		}
	}
	return nil
}

// field finds or makes the definition of a custom attribute.
func (v *VCenter) field(name string) (int32, error) {
	v.making.Lock()
	defer v.making.Unlock()
	fields, c := v.model.Map().CustomFieldsManager(), v.ctx()
	var key int32
	var fault *soap.Fault
	c.WithLock(fields, func() {
		for _, f := range fields.Field {
			if f.Name == name {
				key = f.Key
				return
			}
		}
		res := fields.AddCustomFieldDef(c, &types.AddCustomFieldDef{Name: name, MoType: "VirtualMachine"})
		if fault = res.Fault(); fault == nil {
			key = res.(*methods.AddCustomFieldDefBody).Res.Returnval.Key
		}
	})
	if fault != nil {
		return 0, fmt.Errorf("custom attribute %s: %s", name, fault.String)
	}
	return key, nil
}
