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

// Goal: change tracking that lies is found, and no point is wrong for it. Method: a
// vCenter that leaves changed areas out of its answers, and a source of which every
// backup is compared. The backup says so, its point has what the guest has, and the
// machine is compared again until its tracking was found true.
func TestTrackingThatLiesIsFound(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	dir := t.TempDir()
	v, err := vcenter.Start(vcenter.Options{Dir: filepath.Join(dir, "vcenter")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	id, err := v.Add(vcenter.Machine{Name: "liar", On: true, Tracking: true, Disks: []vcenter.Disk{{Size: size, Content: bytes.NewReader(noise(1, size))}}})
	if err != nil {
		t.Fatal(err)
	}
	u := &under{t: t, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	password := filepath.Join(dir, "password")
	u.must(os.WriteFile(password, []byte(v.Password), 0o600))
	o := up.Options{VCenter: up.VCenter{URL: v.URL(), User: v.User, PasswordFile: password, Thumbprint: v.Thumbprint()}, Blind: true}
	u.configure(o, "    kind: vsphere\n", "    kind: vsphere\n    check_one_in: 1\n")
	u.up(up.Options{Blind: true})
	u.listed(1)

	back := func(when, want string) {
		t.Helper()
		for place := range 3 {
			if _, err := v.Disk(id, 0).WriteAt(noise(byte(7+place), 4096), int64(place)*5<<16); err != nil {
				t.Fatal(err)
			}
		}
		ends := u.ends("liar")
		if len(ends) != 1 || ends[0].Status != "completed" {
			t.Fatalf("%s: %s", when, names(ends))
		}
		if said := strings.Join(ends[0].Warnings, "; "); (want == "") == strings.Contains(said, "lied") || !strings.Contains(said, want) {
			t.Errorf("%s: warnings %q, want %q", when, said, want)
		}
		to := u.data + "/restored/" + strings.ReplaceAll(when, " ", "-")
		u.done("restore", "liar", "--to", to)
		now := make([]byte, size)
		if _, err := v.Disk(id, 0).ReadAt(now, 0); err != nil {
			t.Fatal(err)
		}
		disks, err := filepath.Glob(to + "/disk*")
		if err != nil || len(disks) != 1 {
			t.Fatalf("%s: restored %v, %v", when, disks, err)
		}
		u.same(disks[0], now)
	}
	back("first", "")
	undo := v.Inject(vcenter.CBTLies{})
	if _, err := v.Disk(id, 0).WriteAt(noise(99, 4096), 9<<16); err != nil {
		t.Fatal(err)
	}
	back("under a lie", "lied")
	undo()
	back("when it is true again", "")
}
