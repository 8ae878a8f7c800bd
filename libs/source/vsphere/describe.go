package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// The files beside the disks. Their keys come after those of disks.
const (
	keySettings = "settings.json"
	keyOVF      = "machine.ovf"
	keyNVRAM    = "machine.nvram"
)

// smallMax bounds a file that is kept in memory: EFI variables have some 100 KiB,
// an OVF of a big machine as much.
const smallMax = 8 << 20

// describe adds the files that say what the machine is.
func (n *snapshot) describe(ctx context.Context, c *types.VirtualMachineConfigInfo) error {
	places, err := n.m.s.nearPlaces(ctx, n.m.c)
	if err != nil {
		return n.m.fail("look where it is", err)
	}
	t, err := n.settings(ctx, c, places)
	if err != nil {
		return err
	}
	b, err := t.encode()
	if err != nil {
		return n.m.fail("describe it", err)
	}
	n.keep(keySettings, schemas.FileExported_KIND_CONFIG, b)
	if b, err = n.ovf(ctx); err != nil {
		return err
	} else if b != nil {
		n.keep(keyOVF, schemas.FileExported_KIND_CONFIG, b)
	}
	if b, err = n.nvram(ctx, c, places); err != nil {
		return err
	} else if b != nil {
		n.keep(keyNVRAM, schemas.FileExported_KIND_NVRAM, b)
	}
	return nil
}

func (n *snapshot) keep(key string, kind schemas.FileExported_Kind, b []byte) {
	n.small[key] = b
	n.files = append(n.files, source.File{Key: key, Name: key, Kind: kind, Size: int64(len(b))})
}

func (n *snapshot) settings(ctx context.Context, c *types.VirtualMachineConfigInfo, places *places) (*Settings, error) {
	m := n.m
	about := m.c.ServiceContent.About
	t := &Settings{Format: SettingsFormat, VCenter: VCenter{ID: about.InstanceUuid, Version: about.Version},
		Name: m.name(), Folder: places.folder(&m.mo), ID: m.id, BIOS: c.Uuid, Config: *c}
	tags, err := m.s.tagsOf(ctx, m.c, []mo.Reference{m.ref})
	if err != nil {
		return nil, m.fail("read its tags", err)
	}
	t.Tags = tags[m.ref]
	if t.Attributes, err = n.attributes(ctx); err != nil {
		return nil, err
	}
	disks := disksOf(c.Hardware.Device)
	for _, x := range disks {
		t.Disks = append(t.Disks, SettingsDisk{Key: x.key, Device: x.device, Label: x.label, Place: x.place, Size: x.size,
			Backing: x.file, Thin: x.thin, Excluded: n.disks[x.key] == nil})
	}
	if t.Policies, err = m.policies(ctx, disks); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n.warn(fmt.Sprintf("its storage policies can't be read, and are not kept: %v", explain(err)))
	}
	for _, d := range c.Hardware.Device {
		if nic, ok := d.(types.BaseVirtualEthernetCard); ok {
			t.Networks = append(t.Networks, network(nic.GetVirtualEthernetCard(), reflect.TypeOf(d).Elem().Name(), places))
		}
	}
	return t, nil
}

func network(e *types.VirtualEthernetCard, kind string, places *places) Network {
	w := Network{Device: e.Key, Type: kind, MAC: e.MacAddress}
	if e.DeviceInfo != nil {
		w.Label, w.Network = e.DeviceInfo.GetDescription().Label, e.DeviceInfo.GetDescription().Summary
	}
	switch b := e.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		w.Network = unescape(b.DeviceName)
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		group := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}
		if name := places.name(group); name != "" { // its summary is a switch's UUID
			w.Network = name
		}
	}
	return w
}

// attributes are the custom ones that the machine has values of, by name.
func (n *snapshot) attributes(ctx context.Context) (map[string]string, error) {
	if len(n.m.mo.CustomValue) == 0 {
		return nil, nil
	}
	fields, err := object.GetCustomFieldsManager(n.m.c)
	if errors.Is(err, object.ErrNotSupported) {
		return nil, nil
	} else if err != nil {
		return nil, n.m.fail("read its attributes", err)
	}
	all, err := fields.Field(ctx)
	if err != nil {
		return nil, n.m.fail("read its attributes", err)
	}
	got := map[string]string{}
	for _, v := range n.m.mo.CustomValue {
		if s, ok := v.(*types.CustomFieldStringValue); ok {
			if def := all.ByKey(s.Key); def != nil {
				got[def.Name] = s.Value
			}
		}
	}
	return got, nil
}

// comments of an OVF hold who made it and when, which would make two of the same
// machine differ.
var comments = regexp.MustCompile(`(?s)<!--.*?-->\s*`)

// ovf asks the vCenter for its own description of the snapshot. nil: it makes none.
func (n *snapshot) ovf(ctx context.Context) ([]byte, error) {
	params := types.OvfCreateDescriptorParams{Name: n.m.name(), Snapshot: &n.node.Snapshot}
	var keys []string
	for key := range n.disks {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		x := n.disks[key]
		params.OvfFiles = append(params.OvfFiles, types.OvfFile{DeviceId: "/" + n.m.ref.Value + "/" + x.place, Path: key + ".vmdk", Size: x.size, Capacity: x.size})
	}
	res, err := ovf.NewManager(n.m.c).CreateDescriptor(ctx, n.m.ref, params)
	switch {
	case err != nil && faultName(err) == "":
		return nil, n.m.fail("describe it as OVF", err) // the weather
	case isGone(err, n.m.ref):
		return nil, n.m.fail("describe it as OVF", err)
	case fault.Is(err, &types.NotAuthenticated{}):
		return nil, n.m.fail("describe it as OVF", err)
	case err != nil:
		n.warn(fmt.Sprintf("the vCenter gives no OVF of it, and none is kept: %v", explain(err)))
		return nil, nil
	case res.OvfDescriptor == "":
		why := "it is empty"
		if len(res.Error) > 0 {
			why = res.Error[0].LocalizedMessage
		}
		n.warn("the vCenter gives no OVF of it, and none is kept: " + why)
		return nil, nil
	}
	return []byte(comments.ReplaceAllString(res.OvfDescriptor, "")), nil
}

// nvram reads the file of EFI variables or BIOS settings. nil: there is none.
func (n *snapshot) nvram(ctx context.Context, c *types.VirtualMachineConfigInfo, places *places) ([]byte, error) {
	var p object.DatastorePath
	if !p.FromString(c.Files.VmPathName) {
		return nil, nil
	}
	for _, o := range c.ExtraConfig {
		v := o.GetOptionValue()
		if name, ok := v.Value.(string); ok && v.Key == "nvram" && name != "" {
			p.Path = path.Join(path.Dir(p.Path), path.Base(name))
			return n.fetch(ctx, p, places)
		}
	}
	if n.m.mo.LayoutEx != nil {
		for _, f := range n.m.mo.LayoutEx.File {
			if f.Type == string(types.VirtualMachineFileLayoutExFileTypeNvram) && p.FromString(f.Name) {
				return n.fetch(ctx, p, places)
			}
		}
	}
	return nil, nil
}

// fetch reads a small file of a datastore.
func (n *snapshot) fetch(ctx context.Context, p object.DatastorePath, places *places) ([]byte, error) {
	res, err := n.m.s.get(ctx, n.m.fileURL(p, places), "")
	if err != nil {
		return nil, n.m.fail("read "+p.String(), err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, nil // made when the machine is first switched on
	case http.StatusForbidden, http.StatusUnauthorized:
		n.warn(fmt.Sprintf("%s can't be read, and is not kept: the account lacks the right Datastore.Browse or Datastore.FileManagement", p.String()))
		return nil, nil
	default:
		return nil, n.m.fail("read "+p.String(), errors.New(strings.TrimSpace(res.Status)))
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, smallMax+1))
	if err != nil {
		return nil, n.m.fail("read "+p.String(), err)
	}
	if len(b) > smallMax {
		n.warn(fmt.Sprintf("%s has more than %d bytes, and is not kept", p.String(), smallMax))
		return nil, nil
	}
	return b, nil
}
