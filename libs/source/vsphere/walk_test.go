package vsphere_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
	"github.com/holdfast-backup/holdfast/schemas"
)

const mib = 1 << 20

// disk is one of noise.
func disk(seed uint64, size int) vcenter.Disk {
	return vcenter.Disk{Size: int64(size), Content: bytes.NewReader(noise(seed, size))}
}

// Goal: a machine's life in backups. Method: full, writes, incremental, over a
// machine whose tracking is off at first and whose guest goes on writing: each
// point must be the disks as the snapshot froze them, and the second must not
// read more than 1.1 times what the vCenter named.
func TestWalk(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", Folder: "a/b", On: true, Tags: []string{"tier/gold"}, Attributes: map[string]string{"owner": "ops"},
		Firmware: "efi", Network: "DC0_DVPG0", Disks: []vcenter.Disk{disk(1, 24*mib), disk(2, 8*mib+512)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	var frozen [][]byte
	during := func() {
		frozen = [][]byte{w.guest(id, 0), w.guest(id, 1)}
		w.write(id, 0, 5*mib, bytes.Repeat([]byte("after the snapshot"), 1000))
	}
	full, err := w.backup(o, nil, during)
	w.ck(err)
	keys := w.keys(id)
	same := func(p *point) {
		t.Helper()
		for n, key := range keys {
			if !bytes.Equal(p.bytes[key], frozen[n]) {
				t.Errorf("disk %d is not what it was when the snapshot was made", n)
			}
		}
	}
	same(full)
	if len(full.files) != 5 || len(full.warns) > 0 || full.worth.Level != schemas.Consistency_CONSISTENCY_FILESYSTEM {
		t.Errorf("full: %d files, warnings %q, worth %v", len(full.files), full.warns, full.worth)
	}
	if f := full.files[keys[0]]; f.Via != "nfc" || !strings.HasPrefix(f.Store, "ds-") || f.ChangeID == "" || f.Name == "" {
		t.Errorf("a disk of the full: %+v", f)
	}
	c := w.v.Counters()
	if c.Folder > 1*mib || c.NFC > 26*mib {
		t.Errorf("a full read %d bytes of ranges and %d of streams; a quarter of 32 MiB is not allocated", c.Folder, c.NFC)
	}

	w.v.Forget()
	for i := range int64(40) { // scattered, more areas than one answer holds
		w.write(id, 0, i*600<<10, []byte("changed"))
	}
	for _, at := range []int64{16 * mib, 18*mib + 128<<10} { // a gap that is worth no request
		w.write(id, 0, at, noise(9, 2*mib))
	}
	w.write(id, 1, 8*mib+500, []byte("the very end"))
	o.Name = "holdfast-two"
	inc, err := w.backup(o, full, during)
	w.ck(err)
	same(inc)
	c = w.v.Counters()
	if f := inc.files[keys[0]]; f.Via != "datastore" || inc.why != "" {
		t.Errorf("the incremental reads via %q, because %q", f.Via, inc.why)
	}
	if named := c.Named; c.NFC != 0 || c.Folder == 0 || c.Folder > named*11/10 {
		t.Errorf("the incremental read %d bytes by ranges, %d by streams; %d were named", c.Folder, c.NFC, named)
	} else {
		t.Logf("read %d bytes, %d named: %.3f", c.Folder, named, float64(c.Folder)/float64(named))
	}
	w.left()

	got, err := vsphere.DecodeSettings(bytes.NewReader(inc.bytes["settings.json"]))
	w.ck(err)
	if got.Name != "web" || got.ID != id || !strings.HasSuffix(got.Folder, "/a/b") || got.Config.Firmware != "efi" || len(got.Networks) != 1 ||
		got.Networks[0].MAC == "" || got.Networks[0].Network != "DC0_DVPG0" || len(got.Disks) != 2 || got.Disks[1].Key != keys[1] || len(got.Config.ExtraConfig) == 0 ||
		len(got.Tags) != 1 || got.Tags[0] != "tier/gold" || got.Attributes["owner"] != "ops" {
		t.Errorf("settings: %+v", got)
	}
	if !bytes.Contains(inc.bytes["machine.ovf"], []byte("Envelope")) || len(inc.bytes["machine.nvram"]) == 0 {
		t.Errorf("OVF of %d bytes, NVRAM of %d", len(inc.bytes["machine.ovf"]), len(inc.bytes["machine.nvram"]))
	}
}

// Another process finds the snapshot by name and id, the same to the byte; one
// that is another's, or gone, it does not find.
func TestResumeElsewhere(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Tags: []string{"a/b"}, Attributes: map[string]string{"x": "y", "z": "1"},
		Disks: []vcenter.Disk{disk(1, 4*mib), disk(2, mib)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	snap, err := w.s.Prepare(t.Context(), o)
	w.ck(err)
	w.write(id, 0, 0, []byte("later"))
	for range 3 {
		other := open(t, options(w.v))
		again, err := other.Resume(t.Context(), o, snap.ID())
		w.ck(err)
		for i, f := range again.Files() {
			if f != snap.Files()[i] {
				t.Errorf("file %d is %+v, and was %+v", i, f, snap.Files()[i])
			}
		}
		again.Close()
	}
	for _, c := range []struct{ name, id string }{{"holdfast-two", snap.ID()}, {o.Name, "vsphere-0"}} {
		if _, err := w.s.Resume(t.Context(), source.Order{Machine: id, Name: c.name}, c.id); !errors.Is(err, source.ErrGone) {
			t.Errorf("resume %q %q: %v, want ErrGone", c.name, c.id, err)
		}
	}
	w.ck(w.v.Rename(id, "wob"))
	if _, err := w.s.Resume(t.Context(), o, snap.ID()); !errors.Is(err, source.ErrGone) || !strings.Contains(err.Error(), "settings or disks are others") {
		t.Errorf("resume of a machine whose settings would be others: %v", err)
	}
	w.ck(w.v.Rename(id, "web"))
	w.ck(w.s.End(t.Context(), o))
	if _, err := w.s.Resume(t.Context(), o, snap.ID()); !errors.Is(err, source.ErrGone) || !strings.Contains(err.Error(), `machine "web"`) {
		t.Errorf("resume of what is gone: %v", err)
	}
	if _, err := snap.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody removed snapshot holdfast-one") {
		t.Errorf("check of what is gone: %v", err)
	}
}

// End aborts the export lease of a reading that hangs, and its snapshot goes.
func TestEndWhileReading(t *testing.T) {
	w := newWorld(t, "nfc")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, 32*mib)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	snap, err := w.s.Prepare(t.Context(), o)
	w.ck(err)
	f := snap.Files()[0]
	r, err := snap.Open(t.Context(), f, 0)
	w.ck(err)
	buf := make([]byte, mib)
	w.ck(r.ReadAt(t.Context(), buf, 0))
	w.ck(w.s.End(t.Context(), o))
	w.left()
	for off := int64(mib); err == nil && off < f.Size; off += mib {
		err = r.ReadAt(t.Context(), buf, off)
	}
	if err == nil || !strings.Contains(err.Error(), `machine "web"`) {
		t.Errorf("a reading whose lease was aborted: %v", err)
	}
	r.Close()
	w.ck(snap.Close())
}

// An exporter that died has a lease that nobody can end before its time: until
// then the disks can't be consolidated, End says so, and later it is done.
func TestEndAfterCrash(t *testing.T) {
	w := newWorld(t, "nfc")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, 4*mib)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	dead := open(t, options(w.v))
	snap, err := dead.Prepare(t.Context(), o)
	w.ck(err)
	_, err = snap.Open(t.Context(), snap.Files()[0], 0)
	w.ck(err)
	w.write(id, 0, mib, []byte("in the delta"))
	for range 2 {
		if err := w.s.End(t.Context(), o); err == nil || !strings.Contains(err.Error(), `machine "web"`) || !strings.Contains(err.Error(), "FileLocked") {
			t.Errorf("the end while a lease holds the disks: %v", err)
		}
	}
	inv, err := w.s.List(t.Context())
	w.ck(err)
	if said := strings.Join(inv.Machines[0].Findings, "; "); !strings.Contains(said, "needs consolidation") && !strings.Contains(said, "need consolidation") {
		t.Errorf("findings: %q", said)
	}
	w.ck(dead.Close())
	for range 2 {
		w.ck(w.s.End(t.Context(), o))
	}
	w.left()
	inv, err = w.s.List(t.Context())
	w.ck(err)
	if said := inv.Machines[0].Findings; len(said) > 0 {
		t.Errorf("findings after the end: %q", said)
	}
}

// What a dead lease left goes before the next snapshot; what a person made stays,
// and makes the disks be read whole.
func TestOthersSnapshotsStay(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, 4*mib)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	_, err := w.s.Prepare(t.Context(), o)
	w.ck(err)
	w.write(id, 0, mib, []byte("between"))
	o.Name = "holdfast-two"
	base, err := w.backup(o, nil, nil)
	w.ck(err)
	w.left()
	if !strings.Contains(w.log.String(), "holdfast-one") {
		t.Error("a dead lease's snapshot was removed, and no line says so")
	}

	w.ck(w.v.Snapshot(id, "before the upgrade"))
	w.write(id, 0, 2*mib, []byte("in between"))
	o.Name = "holdfast-three"
	var frozen []byte
	p, err := w.backup(o, base, func() {
		frozen = w.guest(id, 0)
		w.ck(w.v.Snapshot(id, "a child of ours"))
		w.write(id, 0, 3*mib, []byte("later"))
	})
	w.ck(err)
	key := w.keys(id)[0]
	if !bytes.Equal(p.bytes[key], frozen) || p.files[key].Via != "nfc" {
		t.Errorf("read via %q, equal %v", p.files[key].Via, bytes.Equal(p.bytes[key], frozen))
	}
	if !strings.Contains(strings.Join(p.warns, "; "), "1 snapshots that are not Holdfast's") {
		t.Errorf("warnings: %q", p.warns)
	}
	if got := w.v.Counters().Open; len(got) != 2 || got[0] != "web/a child of ours" || got[1] != "web/before the upgrade" {
		t.Errorf("left are %q", got)
	}
	if now := w.guest(id, 0); !bytes.Equal(now[3*mib:3*mib+5], []byte("later")) {
		t.Error("the guest's disk lost a write")
	}
}

// Many machines at once, over one session that is lost meanwhile.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, "datastore")
	const machines = 24
	var ids []string
	for i := range uint64(machines) {
		ids = append(ids, w.add(vcenter.Machine{Name: fmt.Sprint("m", i), On: true, Tracking: true, Disks: []vcenter.Disk{disk(i, 2*mib)}}))
	}
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			p, err := w.backup(source.Order{Machine: id, Name: "holdfast-" + id}, nil, func() {
				if i == machines/2 {
					w.v.ExpireSessions()
				}
			})
			if err != nil {
				t.Errorf("machine %d: %v", i, err)
			} else if !bytes.Equal(p.bytes[w.keys(id)[0]], w.guest(id, 0)) {
				t.Errorf("machine %d: the backup is not the disk", i)
			}
		})
	}
	all.Wait()
	w.left()
}
