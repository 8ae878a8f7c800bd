package vcenter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

// client is a plain govmomi client of one vCenter.
type client struct {
	*testing.T
	v   *VCenter
	c   *govmomi.Client
	ctx context.Context
}

func start(t *testing.T, o Options) *VCenter {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	v, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func dial(t *testing.T, v *VCenter, user, password string) (*govmomi.Client, error) {
	u, err := url.Parse(v.URL() + "/sdk")
	if err != nil {
		t.Fatal(err)
	}
	sc := soap.NewClient(u, false)
	sc.SetThumbprint(u.Host, v.Thumbprint())
	vc, err := vim25.NewClient(t.Context(), sc)
	if err != nil {
		return nil, err
	}
	c := &govmomi.Client{Client: vc, SessionManager: session.NewManager(vc)}
	return c, c.Login(t.Context(), url.UserPassword(user, password))
}

func login(t *testing.T, v *VCenter) *client {
	t.Helper()
	c, err := dial(t, v, v.User, v.Password)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, v, c, t.Context()}
}

func (c *client) ck(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// noise is content that no two seeds share; every fourth block is zero.
func noise(seed uint64, size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, size)
	for at := 0; at < size; at += block {
		if at/block%4 != 3 {
			r.Read(b[at:min(at+block, size)])
		}
	}
	return b
}

func (c *client) add(m Machine) (string, *object.VirtualMachine) {
	c.Helper()
	id, err := c.v.Add(m)
	c.ck(err)
	return id, c.vm(id)
}

func (c *client) vm(id string) *object.VirtualMachine {
	c.Helper()
	ref, err := object.NewSearchIndex(c.c.Client).FindByUuid(c.ctx, nil, id, true, types.NewBool(true))
	c.ck(err)
	if ref == nil {
		c.Fatalf("no machine %s", id)
	}
	return object.NewVirtualMachine(c.c.Client, ref.Reference())
}

func (c *client) props(vm *object.VirtualMachine) (m mo.VirtualMachine) {
	c.Helper()
	c.ck(vm.Properties(c.ctx, vm.Reference(), nil, &m))
	return m
}

func (c *client) snap(vm *object.VirtualMachine, name string) types.ManagedObjectReference {
	c.Helper()
	task, err := vm.CreateSnapshot(c.ctx, name, "", false, false)
	c.ck(err)
	info, err := task.WaitForResult(c.ctx)
	c.ck(err)
	return info.Result.(types.ManagedObjectReference)
}

func (c *client) unsnap(ref types.ManagedObjectReference) error {
	c.Helper()
	res, err := methods.RemoveSnapshot_Task(c.ctx, c.c.Client, &types.RemoveSnapshot_Task{This: ref})
	c.ck(err)
	return object.NewTask(c.c.Client, res.Returnval).Wait(c.ctx)
}

func flats(devices []types.BaseVirtualDevice) (out []*types.VirtualDiskFlatVer2BackingInfo) {
	for _, d := range devices {
		if d, ok := d.(*types.VirtualDisk); ok {
			out = append(out, d.Backing.(*types.VirtualDiskFlatVer2BackingInfo))
		}
	}
	return out
}

func (c *client) snapFlats(ref types.ManagedObjectReference) []*types.VirtualDiskFlatVer2BackingInfo {
	c.Helper()
	var s mo.VirtualMachineSnapshot
	c.ck(c.c.RetrieveOne(c.ctx, ref, nil, &s))
	return flats(s.Config.Hardware.Device)
}

// areas pages through all that changed since an id.
func (c *client) areas(vm *object.VirtualMachine, snap *types.ManagedObjectReference, key int32, id string, size int64) (all []types.DiskChangeExtent, pages int, err error) {
	for off := int64(0); off < size; pages++ {
		r, err := methods.QueryChangedDiskAreas(c.ctx, c.c.Client, &types.QueryChangedDiskAreas{This: vm.Reference(), Snapshot: snap, DeviceKey: key, ChangeId: id, StartOffset: off})
		if err != nil {
			return nil, pages, err
		}
		all = append(all, r.Returnval.ChangedArea...)
		next := r.Returnval.StartOffset + r.Returnval.Length
		if next <= off {
			c.Fatal("no progress")
		}
		off = next
	}
	return all, pages, nil
}

func decode(r io.Reader) ([]byte, error) {
	d, err := vmdk.NewReader(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, d.Size())
	for {
		off, p, err := d.Next()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		copy(b[off:], p)
	}
}

func (c *client) download(it nfc.FileItem) ([]byte, error) {
	r, _, err := c.c.Client.Download(c.ctx, it.URL, &soap.DefaultDownload)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return decode(r)
}

// export reads every disk of a snapshot through a lease.
func (c *client) export(vm *object.VirtualMachine, snap types.ManagedObjectReference) [][]byte {
	c.Helper()
	l, err := vm.ExportSnapshot(c.ctx, &snap)
	c.ck(err)
	info, err := l.Wait(c.ctx, nil)
	c.ck(err)
	var out [][]byte
	for i, it := range info.Items {
		if info.DeviceUrl[i].Disk == nil || !*info.DeviceUrl[i].Disk {
			continue
		}
		b, err := c.download(it)
		c.ck(err)
		out = append(out, b)
	}
	c.ck(l.Complete(c.ctx))
	return out
}

// fetch reads a range of a datastore's file.
func (c *client) fetch(file string, from, n int64) ([]byte, int) {
	c.Helper()
	var p object.DatastorePath
	p.FromString(file)
	req, err := http.NewRequest("GET", fmt.Sprintf("%s/folder/%s?dcPath=DC0&dsName=%s", c.v.URL(), (&url.URL{Path: p.Path}).EscapedPath(), p.Datastore), nil)
	c.ck(err)
	if n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+n-1))
	}
	var b []byte
	var code int
	c.ck(c.c.Client.Do(c.ctx, req, func(res *http.Response) error {
		code = res.StatusCode
		b, err = io.ReadAll(res.Body)
		return err
	}))
	return b, code
}

// Goal: the whole of what a backup does works by plain calls. Method: a machine
// of two disks is read in full from a snapshot while its guest writes; then only
// what changed is read, by ranges of the frozen base; both must be the machine as
// it stood, and nothing may be left.
func TestWalk(t *testing.T) {
	const size = 24 << 20
	c := login(t, start(t, Options{Areas: 1}))
	want := [][]byte{noise(1, size), noise(2, size)}
	id, vm := c.add(Machine{Name: "web 1", Folder: "a/b", On: true, Tracking: true, Disks: []Disk{
		{Size: size, Content: bytes.NewReader(want[0])}, {Size: size, Content: bytes.NewReader(want[1])}}})

	s1 := c.snap(vm, "one")
	first := c.snapFlats(s1)
	disk := c.v.Disk(id, 0)
	after := []byte("after the snapshot")
	for _, at := range []int64{5, 3<<20 + 100, 3*block + 7, size - int64(len(after))} {
		if _, err := disk.WriteAt(after, at); err != nil {
			t.Fatal(err)
		}
	}
	for i, b := range c.export(vm, s1) {
		if !bytes.Equal(b, want[i]) {
			t.Fatalf("disk %d of the export is not as it was at the snapshot", i)
		}
	}
	c.ck(c.unsnap(s1))

	s2 := c.snap(vm, "two")
	second := c.snapFlats(s2)
	areas, pages, err := c.areas(vm, &s2, 2000, first[0].ChangeId, size)
	c.ck(err)
	if len(areas) != 4 || pages < 4 {
		t.Fatalf("changed: %v in %d pages", areas, pages)
	}
	copy(want[0][5:], after)
	for _, at := range []int64{3<<20 + 100, 3*block + 7, size - int64(len(after))} {
		copy(want[0][at:], after)
	}
	got := noise(1, size)
	for _, a := range areas {
		b, code := c.fetch(second[0].FileName[:len(second[0].FileName)-5]+"-flat.vmdk", a.Start, a.Length)
		if code != http.StatusPartialContent {
			t.Fatalf("range read says %d", code)
		}
		copy(got[a.Start:], b)
	}
	if !bytes.Equal(got, want[0]) {
		t.Fatal("full and increment together are not the disk")
	}
	c.ck(c.unsnap(s2))
	n := c.v.Counters()
	if len(n.Open) != 0 || n.Machine[id].Peak != 1 || n.Named != 4*block || n.Folder != 4*block || n.NFC != 2*size*3/4 {
		t.Fatalf("counted %+v", n)
	}
	now := make([]byte, size)
	if _, err := disk.ReadAt(now, 0); err != nil || !bytes.Equal(now, want[0]) {
		t.Fatalf("the guest's disk after all: %v", err)
	}
}
