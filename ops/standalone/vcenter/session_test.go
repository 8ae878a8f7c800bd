package vcenter

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Goal: nobody comes in without the password, or past the wrong certificate.
func TestLogin(t *testing.T) {
	v := start(t, Options{User: "u", Password: "p"})
	if _, err := dial(t, v, "u", "wrong"); !fault.Is(err, &types.InvalidLogin{}) {
		t.Errorf("a wrong password: %v", err)
	}
	c, err := dial(t, v, "u", "p")
	if err != nil {
		t.Fatal(err)
	}
	if about := c.ServiceContent.About; about.InstanceUuid != v.UUID || !strings.HasPrefix(about.ApiVersion, "8.") {
		t.Errorf("about %+v", about)
	}
	u, _ := url.Parse(v.URL() + "/sdk")
	other := start(t, Options{})
	if other.UUID == v.UUID || other.Thumbprint() == v.Thumbprint() {
		t.Error("two vCenters are one")
	}
	sc := soap.NewClient(u, false)
	sc.SetThumbprint(u.Host, other.Thumbprint())
	if _, err := vim25.NewClient(t.Context(), sc); err == nil {
		t.Error("another's thumbprint is taken")
	}
	sc = soap.NewClient(u, false)
	if err := sc.SetRootCAs(v.CAFile()); err != nil {
		t.Fatal(err)
	}
	if _, err := vim25.NewClient(t.Context(), sc); err != nil {
		t.Errorf("its own CA is not taken: %v", err)
	}
	stranger, err := vim25.NewClient(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := object.NewRootFolder(stranger).Children(t.Context()); !fault.Is(err, &types.NotAuthenticated{}) {
		t.Errorf("a stranger reads the inventory: %v", err)
	}
}

// Goal: a session ends when it is not used, or by a fault, and then every call
// says NotAuthenticated; its leases end with it.
func TestSessionEnds(t *testing.T) {
	const idle = 3 * time.Second // so long that no busy machine keeps a login from its next call
	v := start(t, Options{SessionTimeout: idle})
	c := login(t, v)
	_, vm := c.add(Machine{Name: "m", Disks: []Disk{{Size: small}}})
	s := c.snap(vm, "s")
	time.Sleep(idle + 200*time.Millisecond) // what is tested is that time passes
	if _, err := vm.PowerState(c.ctx); !fault.Is(err, &types.NotAuthenticated{}) {
		t.Errorf("an idle session: %v", err)
	}
	c = login(t, v)
	vm = object.NewVirtualMachine(c.c.Client, vm.Reference())
	l, info := c.lease(vm, s)
	defer v.Inject(SessionExpires{When: When{Max: 1}, Method: "HttpNfcLeaseProgress"})()
	if err := l.Progress(c.ctx, 1); !fault.Is(err, &types.NotAuthenticated{}) {
		t.Errorf("progress: %v", err)
	}
	if _, err := vm.PowerState(c.ctx); !fault.Is(err, &types.NotAuthenticated{}) {
		t.Errorf("after the fault: %v", err)
	}
	if _, err := c.download(info.Items[0]); err == nil {
		t.Error("the lease outlives its session")
	}
	login(t, v).ck(login(t, v).unsnap(s))
}

// Goal: files of datastores are for sessions and tickets, are given and taken by
// ranges and whole; a disk in use is locked.
func TestFolder(t *testing.T) {
	v := start(t, Options{})
	c := login(t, v)
	want := noise(6, small)
	id, vm := c.add(Machine{Name: "m ü'[1]", Firmware: "efi", Disks: []Disk{{Size: small, Content: bytes.NewReader(want)}}})
	flat := strings.TrimSuffix(flats(c.props(vm).Config.Hardware.Device)[0].FileName, ".vmdk") + "-flat.vmdk"
	if b, code := c.fetch(flat, block+1, 10); code != http.StatusPartialContent || !bytes.Equal(b, want[block+1:block+11]) {
		t.Errorf("a range: %d", code)
	}
	if b, code := c.fetch(flat, 0, 0); code != http.StatusOK || !bytes.Equal(b, want) {
		t.Errorf("the whole: %d", code)
	}
	if b, code := c.fetch(strings.Replace(flat, "-flat.vmdk", ".nvram", 1), 0, 0); code != http.StatusOK || !bytes.Contains(b, []byte("efi")) {
		t.Errorf("NVRAM: %d %q", code, b)
	}
	c.snap(vm, "s")
	c.write(id, 0, "x", 0)
	top := flats(c.props(vm).Config.Hardware.Device)[0].FileName
	if b, code := c.fetch(strings.Replace(top, ".vmdk", "-delta.vmdk", 1), 0, 8); code != http.StatusPartialContent || string(b) != "HOLDFAST" {
		t.Errorf("a delta reads as %q", b)
	}
	put := func(file string, body []byte, header string) (code int) {
		req, err := http.NewRequest("PUT", v.URL()+"/folder/"+url.PathEscape("m ü'[1]")+"/"+url.PathEscape(file)+"?dcPath=DC0&dsName=ds-0", bytes.NewReader(body))
		c.ck(err)
		if header != "" {
			req.Header.Set("Content-Range", header)
		}
		c.ck(c.c.Client.Do(c.ctx, req, func(res *http.Response) error { code = res.StatusCode; return nil }))
		return code
	}
	name := filepath.Base(flat)
	if code := put(name, want, ""); code != http.StatusInternalServerError {
		t.Errorf("a base under a snapshot takes an upload: %d", code)
	}
	task, err := vm.RemoveAllSnapshot(c.ctx, nil)
	c.ck(err)
	c.ck(task.Wait(c.ctx))
	next := noise(7, small)
	mixed := make([]byte, small)
	c.ck(readAt(v.Disk(id, 0), mixed))
	copy(mixed[4:], next[:8])
	for _, c := range []struct {
		part  []byte
		where string
		want  int
	}{{next[:8], "bytes 4-11/1048576", http.StatusOK}, {next[:8], "bytes 4-10/1048576", http.StatusInternalServerError},
		{next[:8], "bytes 9-4/1048576", http.StatusRequestedRangeNotSatisfiable}} {
		if code := put(name, c.part, c.where); code != c.want {
			t.Errorf("a ranged upload, %s: %d, want %d", c.where, code, c.want)
		}
	}
	if b := make([]byte, small); readAt(v.Disk(id, 0), b) != nil || !bytes.Equal(b, mixed) {
		t.Error("a range was not put where it belongs")
	}
	if code := put(name, next[:100], ""); code != http.StatusInternalServerError {
		t.Errorf("half an upload: %d", code)
	}
	if code := put(name, next, ""); code != http.StatusOK {
		t.Errorf("a whole upload: %d", code)
	}
	got := make([]byte, small)
	if _, err := v.Disk(id, 0).ReadAt(got, 0); err != nil || !bytes.Equal(got, next) {
		t.Errorf("the disk is not what was put: %v", err)
	}
	res, err := (&http.Client{Transport: c.c.Client.DefaultTransport()}).Get(v.URL() + "/folder/x?dcPath=DC0&dsName=ds-0")
	if err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("a stranger: %d", res.StatusCode)
		}
	}
}

func readAt(r io.ReaderAt, b []byte) error {
	_, err := r.ReadAt(b, 0)
	return err
}

// Goal: a ticket opens one file, once.
func TestTicket(t *testing.T) {
	v := start(t, Options{})
	c := login(t, v)
	c.ck(os.WriteFile(filepath.Join(v.Dir, "datastores", "ds-0", "note"), []byte("hello"), 0o600))
	u := v.sideURL.String() + "/folder/note?dsName=ds-0"
	res, err := methods.AcquireGenericServiceTicket(c.ctx, c.c.Client, &types.AcquireGenericServiceTicket{This: *c.c.ServiceContent.SessionManager,
		Spec: &types.SessionManagerHttpServiceRequestSpec{Method: "httpGet", Url: u}})
	c.ck(err)
	sc := soap.NewClient(&v.sideURL, false)
	sc.SetThumbprint(v.sideURL.Host, res.Returnval.SslThumbprint)
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		req, _ := http.NewRequest("GET", u, nil)
		req.AddCookie(&http.Cookie{Name: "vmware_cgi_ticket", Value: res.Returnval.Id})
		c.ck(sc.Do(context.Background(), req, func(res *http.Response) error {
			if res.StatusCode != want {
				t.Errorf("the ticket gives %d, want %d", res.StatusCode, want)
			}
			return nil
		}))
	}
}
