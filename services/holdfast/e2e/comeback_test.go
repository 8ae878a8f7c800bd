package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Goal: a machine of a vCenter comes back by the command line, as a copy, in place
// and as itself. Method: a demo vCenter, one backup; after each restore its disks
// are held against what they were.
func TestRestoreIntoVCenter(t *testing.T) {
	t.Parallel()
	vc, err := vcenter.Start(vcenter.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vc.Close(); err != nil {
			t.Error(err)
		}
	})
	disk := noise(1, 3<<20)
	clear(disk[1<<20 : 2<<20])
	id, err := vc.Add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{{Size: int64(len(disk)), Content: bytes.NewReader(disk)}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	u := &under{t: t, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	password := filepath.Join(dir, "password")
	u.must(os.WriteFile(password, []byte(vc.Password+"\n"), 0o600))
	u.up(up.Options{VCenter: up.VCenter{URL: vc.URL(), User: vc.User, PasswordFile: password, Thumbprint: vc.Thumbprint()}})
	u.listed(1)
	if ends := u.ends("web"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatal(names(ends))
	}
	same := func(id string) {
		t.Helper()
		got := make([]byte, len(disk))
		if _, err := vc.Disk(id, 0).ReadAt(got, 0); err != nil || !bytes.Equal(got, disk) {
			t.Errorf("the disk of %s is not as it was backed up; %v", id, err)
		}
	}
	restore := func(args ...string) (said, id string) {
		t.Helper()
		said = u.done(append([]string{"restore", "web", "--to-source", "vcenter"}, args...)...)
		_, rest, _ := strings.Cut(said, `" (`)
		id, _, _ = strings.Cut(rest, ")")
		return said, id
	}
	said, copied := restore("--name", "copy", "--datastore", "ds-1", "--power-on")
	if same(copied); copied == id || !strings.Contains(said, `machine "copy"`) || !strings.Contains(said, "by nfc") {
		t.Errorf("the copy: %s", said)
	}
	if _, err := vc.Disk(id, 0).WriteAt([]byte("damage"), 70_000); err != nil {
		t.Fatal(err)
	}
	for what, why := range map[string]string{"--name copy": "already", "--in-place --force": "switch it off first", "--name x --pool none": `pool "none" is not here`} {
		_, errs, code := u.holdfast(append([]string{"restore", "web", "--to-source", "vcenter"}, strings.Fields(what)...)...)
		if code != 3 || !strings.Contains(errs, why) {
			t.Errorf("%s: exit %d: %s, want 3 and %q", what, code, errs, why)
		}
	}
	u.must(vc.PowerOff(id))
	vc.Forget()
	said, place := restore("--in-place", "--force")
	if same(id); place != id || !strings.Contains(said, "65.5 kB written by datastore ranges") && !strings.Contains(said, "64.0 KiB written by datastore ranges") || vc.Counters().Put != 64<<10 {
		t.Errorf("in place %d bytes were written: %s", vc.Counters().Put, said)
	}
	u.must(vc.Destroy(id))
	if said, back := restore(); back != id {
		t.Errorf("it was gone, and came back as another: %s", said)
	}
	same(id)
	for host, g := range vc.Counters().Leases {
		if g.Now > 0 {
			t.Errorf("%d leases are left at %s", g.Now, host)
		}
	}
}
