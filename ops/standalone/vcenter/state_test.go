package vcenter

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	ovfx "github.com/vmware/govmomi/ovf"
	pbmc "github.com/vmware/govmomi/pbm"
	pbmt "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Goal: all that was added and written is there after a restart on the same
// folder: snapshots, chains, change ids, tags, attributes, the certificate and
// the UUID.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	content := noise(8, small)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c := login(t, v)
	id, vm := c.add(Machine{Name: "m", Folder: "x/y", Pool: "prod", Tracking: true, On: true, Tags: []string{"env/prod", "plain"},
		Attributes: map[string]string{"owner": "ann"}, Disks: []Disk{{Size: small, Content: f}, {Size: small, Content: bytes.NewReader(content)}}})
	c.write(id, 0, "first", 0)
	s := c.snap(vm, "kept")
	since := c.snapFlats(s)[0].ChangeId
	c.write(id, 0, "second", 0)
	print, uuid, at := v.Thumbprint(), v.UUID, v.URL()
	if _, err := Start(Options{Dir: dir}); err == nil {
		t.Fatal("two vCenters on one folder")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}

	v = start(t, Options{Dir: dir})
	if v.Thumbprint() != print || v.UUID != uuid || v.URL() != at {
		t.Errorf("came back as %s %s %s", v.URL(), v.UUID, v.Thumbprint())
	}
	c = login(t, v)
	vm = c.vm(id)
	c.reads(id, 0, "second", 0)
	c.reads(id, 1, string(content[:100]), 0)
	p := c.props(vm)
	if p.Snapshot == nil || p.Snapshot.RootSnapshotList[0].Name != "kept" || p.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn || len(p.CustomValue) != 1 {
		t.Fatalf("came back with %+v, %s, %v", p.Snapshot, p.Runtime.PowerState, p.CustomValue)
	}
	old := *p.Snapshot.CurrentSnapshot
	want := bytes.Clone(content)
	copy(want, "first")
	if b := c.export(vm, old)[0]; !bytes.Equal(b, want) {
		t.Error("the snapshot is not what it was")
	}
	c.ck(c.unsnap(old))
	s = c.snap(vm, "next")
	if areas, _, err := c.areas(vm, &s, 2000, since, small); err != nil || sum(areas) != block {
		t.Errorf("changed since the old id: %v %v", areas, err)
	}
	tm, err := v.tagManager(c.ctx)
	c.ck(err)
	attached, err := tm.GetAttachedTags(c.ctx, vm.Reference())
	c.ck(err)
	var names []string
	for _, tag := range attached {
		names = append(names, tag.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"plain", "prod"}) {
		t.Errorf("tags %v", names)
	}
}

// Goal: what belongs to a machine besides its disks can be read as from a real one.
func TestAround(t *testing.T) {
	v := start(t, Options{})
	c := login(t, v)
	const policy = "aa6d5a82-1c88-45da-85d3-3d74b91a5bad"
	id, vm := c.add(Machine{Name: "m/1", Firmware: "efi", Policy: policy, Extra: map[string]string{"guestinfo.role": "db"}, Network: "DC0_DVPG0", Version: "vmx-17",
		On: true, Disks: []Disk{{Size: small}, {Size: small}}})
	p := c.props(vm)
	extra := object.OptionValueList(p.Config.ExtraConfig)
	role, _ := extra.Get("guestinfo.role")
	if p.Name != "m%2f1" || p.Config.Firmware != "efi" || p.Config.Version != "vmx-17" || role != "db" || p.Guest.ToolsRunningStatus != "guestToolsRunning" {
		t.Errorf("%s %s %s %v %s", p.Name, p.Config.Firmware, p.Config.Version, role, p.Guest.ToolsRunningStatus)
	}
	ovf, err := methods.CreateDescriptor(c.ctx, c.c.Client, &types.CreateDescriptor{This: *c.c.ServiceContent.OvfManager, Obj: vm.Reference(),
		Cdp: types.OvfCreateDescriptorParams{OvfFiles: []types.OvfFile{{DeviceId: "/vm/ParaVirtualSCSIController0:1", Path: "a&b.vmdk", Size: 7}}}})
	c.ck(err)
	if e, err := ovfx.Unmarshal(strings.NewReader(ovf.Returnval.OvfDescriptor)); err != nil || len(e.Disk.Disks) != 2 || e.References[0].Href != "a&b.vmdk" ||
		*e.Disk.Disks[1].FileRef != e.References[0].ID {
		t.Errorf("OVF: %v\n%s", err, ovf.Returnval.OvfDescriptor)
	}
	pc, err := pbmc.NewClient(c.ctx, c.c.Client)
	c.ck(err)
	ids, err := pc.QueryAssociatedProfile(c.ctx, pbmt.PbmServerObjectRef{ObjectType: "virtualDiskId", Key: vm.Reference().Value + ":2001"})
	c.ck(err)
	if len(ids) != 1 || ids[0].UniqueId != policy {
		t.Errorf("policies %+v", ids)
	}
	c.ck(v.Rename(id, "other name"))
	c.ck(v.Move(id, "deep/er"))
	c.ck(v.AddDisk(id, small))
	c.ck(v.PowerOff(id))
	p = c.props(vm)
	if p.Name != "other name" || len(flats(p.Config.Hardware.Device)) != 3 || p.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("after the operator: %s, %d disks", p.Name, len(flats(p.Config.Hardware.Device)))
	}
	c.ck(v.Destroy(id))
	if left, _ := filepath.Glob(filepath.Join(v.Dir, "*", "*", "m*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
