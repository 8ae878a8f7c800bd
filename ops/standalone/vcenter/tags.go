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
func (v *VCenter) label(m *machine) error {
	if len(m.spec.Tags) == 0 {
		return nil
	}
	var specs []types.TagSpec
	for _, t := range m.spec.Tags {
		category, name, ok := strings.Cut(t, "/")
		if !ok {
			category, name = "holdfast", t
		}
		if err := v.tag(category, name); err != nil {
			return fmt.Errorf("tag %s: %w", t, err)
		}
		specs = append(specs, types.TagSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Id: types.TagId{NameId: &types.TagIdNameId{Category: category, Tag: name}}})
	}
	v.labeling.Lock()
	defer v.labeling.Unlock()
	vm, c := v.vm(m.ref), v.ctx()
	var task types.ManagedObjectReference
	c.WithLock(vm, func() {
		task = vm.ReconfigVMTask(c, &types.ReconfigVM_Task{This: m.ref, Spec: types.VirtualMachineConfigSpec{TagSpecs: specs}}).(*methods.ReconfigVM_TaskBody).Res.Returnval
	})
	if _, fault := await(c, task); fault != nil {
		return fmt.Errorf("tag %s: %T", m.name(), fault)
	}
	return nil
}

// tag makes a category and a tag in it, once. The simulator has them behind its
// REST door only.
func (v *VCenter) tag(category, name string) error {
	v.making.Lock()
	defer v.making.Unlock()
	if v.tagged == nil {
		v.tagged = map[string]string{}
	}
	if v.tagged[category+"/"+name] != "" {
		return nil
	}
	ctx := context.Background()
	tm, err := v.tagManager(ctx)
	if err != nil {
		return err
	}
	defer tm.Logout(ctx)
	if v.tagged[category] == "" {
		id, err := tm.CreateCategory(ctx, &tags.Category{Name: category, Cardinality: "MULTIPLE", AssociableTypes: []string{"VirtualMachine"}})
		if err != nil {
			return err
		}
		v.tagged[category] = id
	}
	id, err := tm.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: v.tagged[category]})
	if err != nil {
		return err
	}
	v.tagged[category+"/"+name] = id
	return nil
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
