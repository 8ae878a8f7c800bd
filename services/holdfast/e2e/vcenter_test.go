package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Limits of the vCenter in the test, each below what 200 machines would take.
const (
	hosts, datastores = 3, 4
	snapshotsMax      = 6
	perHostMax        = 3
	perDatastoreMax   = 2
	connectionsMax    = 5
)

// Two hundred machines of one vCenter are asked for at once. Each completes, and the
// vCenter itself, which counts, never saw more snapshots and streams than the limits
// of the source allow, and none is left. One that is restored is what its guest has.
func TestTwoHundredMachinesKeepTheLimits(t *testing.T) {
	t.Parallel()
	const machines, size = 200, 1 << 20
	dir := t.TempDir()
	v, err := vcenter.Start(vcenter.Options{Dir: filepath.Join(dir, "vcenter"), Hosts: hosts, Datastores: datastores})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	common := filepath.Join(dir, "common.raw")
	if err := os.WriteFile(common, noise(1, size), 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := os.Open(common)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { content.Close() })
	var last string
	for i := range machines {
		last, err = v.Add(vcenter.Machine{Name: fmt.Sprintf("vm-%03d", i), On: true, Tracking: true, Disks: []vcenter.Disk{{Size: size, Content: content}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Disk(last, 0).WriteAt(noise(byte(2+i), 65536), int64(i%16)<<16); err != nil {
			t.Fatal(err)
		}
	}
	u := &under{t: t, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	password := filepath.Join(dir, "password")
	u.must(os.WriteFile(password, []byte(v.Password), 0o600))
	o := up.Options{VCenter: up.VCenter{URL: v.URL(), User: v.User, PasswordFile: password, Thumbprint: v.Thumbprint()}, Blind: true}
	u.configure(o, "    kind: vsphere\n", fmt.Sprintf("    kind: vsphere\n    limits: {snapshots: %d, per_host: %d, per_datastore: %d, connections: %d}\n",
		snapshotsMax, perHostMax, perDatastoreMax, connectionsMax), "size: 2GiB, window: 512MiB", "size: 2GiB, window: 64MiB")
	u.up(up.Options{Blind: true})
	u.listed(machines)

	ends := u.ends("--match", "*")
	if len(ends) != machines {
		t.Fatalf("%d of %d machines ended", len(ends), machines)
	}
	for _, e := range ends {
		if e.Status != "completed" {
			t.Errorf("%s %s: %s", e.Machine.Path(), e.Status, e.Reason)
		}
	}
	c := v.Counters()
	within(t, "snapshots of host", c.Host, perHostMax)
	within(t, "snapshots of datastore", c.Datastore, perDatastoreMax)
	within(t, "snapshots of machine", c.Machine, 1)
	if all := len(c.Open); all > 0 {
		t.Errorf("%d snapshots are left: %v", all, c.Open)
	}
	if c.Snapshots.Peak > snapshotsMax || c.Snapshots.Peak < 2 {
		t.Errorf("%d snapshots were open at once, of %d that the limit allows", c.Snapshots.Peak, snapshotsMax)
	}
	if c.Streams.Peak > connectionsMax {
		t.Errorf("%d streams were open at once, the limit is %d", c.Streams.Peak, connectionsMax)
	}
	to := u.data + "/restored/last"
	u.done("restore", last, "--to", to)
	found, err := filepath.Glob(to + "/*")
	u.must(err)
	want := make([]byte, size)
	if _, err := v.Disk(last, 0).ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		if st, err := os.Stat(path); err == nil && st.Size() == size {
			u.same(path, want)
			return
		}
	}
	t.Errorf("no disk among %s", strings.Join(found, ", "))
}

// within fails where a gauge passed its limit, or nothing was counted at all.
func within(t *testing.T, what string, all map[string]vcenter.Gauge, limit int) {
	t.Helper()
	if len(all) == 0 {
		t.Errorf("no %s were counted", what)
	}
	for name, g := range all {
		if g.Peak > limit {
			t.Errorf("%s %s: %d at once, the limit is %d", what, name, g.Peak, limit)
		}
	}
}
