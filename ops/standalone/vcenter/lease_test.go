package vcenter

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

func (c *client) lease(vm *object.VirtualMachine, snap types.ManagedObjectReference) (*nfc.Lease, *nfc.LeaseInfo) {
	c.Helper()
	l, err := vm.ExportSnapshot(c.ctx, &snap)
	c.ck(err)
	info, err := l.Wait(c.ctx, nil)
	c.ck(err)
	return l, info
}

func (c *client) until(what string, ok func() bool) {
	c.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.Fatal(what)
		}
	}
}

// Goal: a lease says of itself what real ones say.
func TestLeaseInfo(t *testing.T) {
	c := login(t, start(t, Options{LeaseTimeout: 77 * time.Second}))
	_, vm := c.add(Machine{Name: "m", Disks: []Disk{{Size: small}, {Size: small}}})
	l, info := c.lease(vm, c.snap(vm, "s"))
	seen := map[string]bool{}
	for i, u := range info.DeviceUrl {
		seen[u.TargetId] = true
		if strings.HasPrefix(u.Url, c.v.URL()) || u.SslThumbprint != sha1Print(c.v.ca.host) {
			t.Errorf("%s with thumbprint %s: a lease's URLs are its host's", u.Url, u.SslThumbprint)
		}
		if i < 2 && (u.Key != "/"+vm.Reference().Value+"/ParaVirtualSCSIController0:"+string(rune('0'+i)) || !*u.Disk) {
			t.Errorf("key %s", u.Key)
		}
	}
	if len(seen) != 3 || info.LeaseTimeout != 77 || info.TotalDiskCapacityInKB != 2*small>>10 || !strings.HasPrefix(info.Lease.Value, "session[") {
		t.Errorf("lease %+v", info.HttpNfcLeaseInfo)
	}
	if n := c.v.Counters().Leases["esx-0"]; n.Now != 1 {
		t.Errorf("leases %+v", c.v.Counters().Leases)
	}
	c.ck(l.Complete(c.ctx))
	if _, err := c.download(info.Items[0]); err == nil {
		t.Error("a completed lease still serves")
	}
}

// Goal: a lease without progress dies and says so; progress keeps it.
func TestLeaseTimeout(t *testing.T) {
	c := login(t, start(t, Options{LeaseTimeout: 2 * time.Second}))
	_, vm := c.add(Machine{Name: "m", Disks: []Disk{{Size: small}}})
	s := c.snap(vm, "s")
	l, _ := c.lease(vm, s)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		c.ck(l.Progress(c.ctx, 50))
	}
	c.until("the lease lives without progress", func() bool { return c.v.Counters().Leases["esx-0"].Now == 0 })
	if err := l.Progress(c.ctx, 60); !fault.Is(err, &types.Timedout{}) {
		t.Errorf("progress on a dead lease: %v", err)
	}
	var o mo.HttpNfcLease
	c.ck(c.c.RetrieveOne(c.ctx, l.Reference(), []string{"state", "error"}, &o))
	if o.State != types.HttpNfcLeaseStateError || o.Error == nil {
		t.Errorf("lease in state %s, error %v", o.State, o.Error)
	}
	c.ck(c.unsnap(s))
}

// Goal: the faults of a stream are what they say, and end.
func TestStreamFaults(t *testing.T) {
	c := login(t, start(t, Options{}))
	want := noise(3, 4*small)
	_, vm := c.add(Machine{Name: "m", Disks: []Disk{{Size: 4 * small, Content: bytes.NewReader(want)}}})
	s := c.snap(vm, "s")
	for name, f := range map[string]Fault{"cut": StreamCut{When{Max: 1}, 1 << 20}, "dies": LeaseDies{When{Max: 1}, 1 << 20}} {
		defer c.v.Inject(f)()
		l, info := c.lease(vm, s)
		if _, err := c.download(info.Items[0]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the stream says %v", name, err)
		}
		if name == "cut" {
			if b, err := c.download(info.Items[0]); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s: again: %v", name, err)
			}
			c.ck(l.Abort(c.ctx, nil))
			continue
		}
		c.until("the lease lives", func() bool { return c.v.Counters().Leases["esx-0"].Now == 0 })
		if err := l.Progress(c.ctx, 1); !fault.Is(err, &types.Timedout{}) {
			t.Errorf("%s: progress: %v", name, err)
		}
	}
	defer c.v.Inject(LeaseDies{When: When{Max: 1}})()
	l, _ := c.lease(vm, s)
	if err := l.Progress(c.ctx, 1); !fault.Is(err, &types.Timedout{}) {
		t.Errorf("dies at progress: %v", err)
	}
	defer c.v.Inject(DatastoreSlow{When{Max: 3}, 50 * time.Millisecond})()
	began := time.Now()
	c.export(vm, s)
	if d := time.Since(began); d < 150*time.Millisecond {
		t.Errorf("a slow datastore took %s", d)
	}
}

func encode(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := vmdk.NewWriter(&out, vmdk.Options{Size: int64(len(b))})
	for at := 0; err == nil && at < len(b); at += vmdk.GrainSize {
		err = w.WriteGrain(int64(at), b[at:min(at+vmdk.GrainSize, len(b))])
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (c *client) spec(name, ds string, sizes ...int64) types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{Name: name, GuestId: "otherGuest", Files: &types.VirtualMachineFileInfo{VmPathName: "[" + ds + "]"}}
	add := func(d types.BaseVirtualDevice) {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d,
			FileOperation: map[bool]types.VirtualDeviceConfigSpecFileOperation{true: types.VirtualDeviceConfigSpecFileOperationCreate}[d.GetVirtualDevice().ControllerKey == -1]})
	}
	add(&types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{SharedBus: types.VirtualSCSISharingNoSharing,
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -1}}}})
	for i, s := range sizes {
		unit := int32(i)
		add(&types.VirtualDisk{CapacityInBytes: s, VirtualDevice: types.VirtualDevice{Key: int32(-10 - i), ControllerKey: -1, UnitNumber: &unit,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent"}}})
	}
	return spec
}

func (c *client) importVApp(spec types.VirtualMachineConfigSpec, folder *object.Folder) (*nfc.Lease, *nfc.LeaseInfo, error) {
	c.Helper()
	pool := object.NewResourcePool(c.c.Client, c.v.pools["C0"])
	l, err := pool.ImportVApp(c.ctx, &types.VirtualMachineImportSpec{ConfigSpec: spec}, folder, nil)
	c.ck(err)
	info, err := l.Wait(c.ctx, nil)
	return l, info, err
}

func (c *client) upload(url string, body []byte) int {
	c.Helper()
	req, err := http.NewRequest("POST", url, bytes.NewReader(body))
	c.ck(err)
	req.Header.Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
	var code int
	c.ck(c.c.Client.Do(c.ctx, req, func(res *http.Response) error {
		code = res.StatusCode
		return nil
	}))
	return code
}

// Goal: an import keeps the bytes, of disks that are uploaded at once, in the
// folder and datastore that it names; its machine is like any other after.
func TestImport(t *testing.T) {
	c := login(t, start(t, Options{}))
	f, err := c.v.folderFor("restored")
	c.ck(err)
	folder := object.NewFolder(c.c.Client, f.Self)
	disks := [][]byte{noise(4, 2*small), noise(5, small)}
	spec := c.spec("new", "ds-1", 2*small, small)
	spec.DeviceChange[2].GetVirtualDeviceConfigSpec().Device.GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName = "[ds-0]"
	l, info, err := c.importVApp(spec, folder)
	c.ck(err)
	var wg sync.WaitGroup
	for i, d := range disks {
		body := encode(t, d)
		wg.Go(func() {
			up := soap.DefaultUpload
			up.Method, up.ContentLength = "POST", int64(len(body))
			if err := c.c.Client.Upload(c.ctx, bytes.NewReader(body), info.Items[i].URL, &up); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	manifest, err := l.GetManifest(c.ctx)
	c.ck(err)
	sum := sha1.Sum(encode(t, disks[0]))
	if len(manifest) != 2 || manifest[0].Sha1 != hex.EncodeToString(sum[:]) || manifest[0].Capacity != 2*small {
		t.Errorf("manifest %+v", manifest)
	}
	vm := object.NewVirtualMachine(c.c.Client, info.Entity)
	if task, err := vm.PowerOn(c.ctx); err == nil {
		if err = task.Wait(c.ctx); err == nil {
			t.Error("a machine runs while it is imported")
		}
	}
	c.ck(l.Complete(c.ctx))
	p := c.props(vm)
	if *p.Parent != f.Self || flats(p.Config.Hardware.Device)[0].FileName != "[ds-1] new/new.vmdk" || p.Config.InstanceUuid == "" {
		t.Errorf("imported into %v as %s", p.Parent, flats(p.Config.Hardware.Device)[0].FileName)
	}
	if other := flats(p.Config.Hardware.Device)[1].FileName; other != "[ds-0] new/new_1.vmdk" {
		t.Errorf("the second disk is %s", other)
	}
	for i, want := range disks {
		got := make([]byte, len(want))
		if _, err := c.v.Disk(p.Config.InstanceUuid, i).ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("disk %d is not what was uploaded: %v", i, err)
		}
	}
	if b := c.export(vm, c.snap(vm, "s"))[0]; !bytes.Equal(b, disks[0]) {
		t.Error("the imported machine exports something else")
	}
	if _, _, err := c.importVApp(c.spec("new", "ds-0", small), folder); !fault.Is(err, &types.DuplicateName{}) {
		t.Errorf("a second of that name: %v", err)
	}
}

// Goal: what an import began is gone when it is not completed.
func TestImportAborted(t *testing.T) {
	c := login(t, start(t, Options{LeaseTimeout: time.Second}))
	folder := object.NewFolder(c.c.Client, c.v.folders[""])
	machines := func() int {
		c.v.mu.Lock()
		defer c.v.mu.Unlock()
		return len(c.v.machines)
	}
	l, info, err := c.importVApp(c.spec("a", "ds-0", small), folder)
	c.ck(err)
	if code := c.upload(info.Items[0].URL.String(), encode(t, noise(1, 2*small))); code != http.StatusInternalServerError {
		t.Errorf("an upload of another size says %d", code)
	}
	c.ck(l.Abort(c.ctx, nil))
	if machines() != 0 {
		t.Error("an aborted import leaves its machine")
	}
	_, _, err = c.importVApp(c.spec("b", "ds-0", small), folder)
	c.ck(err)
	c.until("an import that timed out leaves its machine", func() bool { return machines() == 0 })
	c.v.Inject(DatastoreFull{When{Max: 1}})
	if _, _, err := c.importVApp(c.spec("c", "ds-0", small), folder); !fault.Is(err, &types.NoDiskSpace{}) {
		t.Errorf("a full datastore: %v", err)
	}
	c.v.Inject(DatastoreFull{When{Datastore: "ds-1", Max: 1}})
	if _, _, err := c.importVApp(c.spec("d", "ds-1", small), folder); !fault.Is(err, &types.NoDiskSpace{}) {
		t.Errorf("a full datastore: %v", err)
	}
}
