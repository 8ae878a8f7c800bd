package vsphere_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// kept is the order that brings a machine back as a backup has it.
func (w *world) kept(id string, serial int) (source.Return, *point) {
	w.Helper()
	p, err := w.backup(source.Order{Machine: id, Name: fmt.Sprint("holdfast-for-", serial)}, nil, nil)
	w.ck(err)
	return w.returnOf(id, p, serial), p
}

func (w *world) returnOf(id string, p *point, serial int) source.Return {
	o := source.Return{Machine: id, Name: fmt.Sprintf("%s00000000-0000-0000-0000-%012d", source.ReturnMark, serial), Kept: map[string][]byte{}}
	for key, f := range p.files {
		if strings.HasPrefix(key, "disk-") {
			o.Files = append(o.Files, f)
		} else {
			o.Kept[key] = p.bytes[key]
		}
	}
	keys := w.keys(id)
	slices.SortFunc(o.Files, func(a, b source.File) int { return slices.Index(keys, a.Key) - slices.Index(keys, b.Key) })
	return o
}

// same holds a machine's disks against a point.
func (w *world) same(id string, o source.Return, p *point) {
	w.Helper()
	for n, f := range o.Files {
		if !bytes.Equal(w.guest(id, n), p.bytes[f.Key]) {
			w.Errorf("disk %d of %s is not as in the point", n, id)
		}
	}
}

// bring carries an order out on a source.
func (w *world) bring(s *vsphere.Source, o source.Return, p *point) (*source.Returned, error) {
	return sourcetest.Bring(w.Context(), s, o, p.bytes)
}

// settings are what a machine is now, by the way of a backup.
func (w *world) settings(id string) (*vsphere.Settings, *point) {
	w.Helper()
	p, err := w.backup(source.Order{Machine: id, Name: "holdfast-look"}, nil, nil)
	w.ck(err)
	t, err := vsphere.DecodeSettings(bytes.NewReader(p.bytes["settings.json"]))
	w.ck(err)
	return t, p
}

// The contract's suite, on a demo vCenter that takes ranges and on one that does not.
func TestDestination(t *testing.T) {
	for name, whole := range map[string]bool{"ranges": false, "whole disks": true} {
		t.Run(name, func(t *testing.T) {
			sourcetest.RunDestination(t, func(t *testing.T) sourcetest.DestinationWorld {
				w := &world{T: t, v: start(t, vcenter.Options{WholePut: whole}), log: &lines{}}
				w.s = open(t, options(w.v))
				serial := 0
				return sourcetest.DestinationWorld{Destination: w.s,
					Add: func(name string, sizes ...int) source.Return {
						m := vcenter.Machine{Name: name}
						for _, size := range sizes {
							m.Disks = append(m.Disks, vcenter.Disk{Size: int64(size)})
						}
						serial++
						o, _ := w.kept(w.add(m), serial)
						return o
					},
					Bytes: w.guest, Write: w.write,
					Remove: func(id string) { w.ck(w.v.Destroy(id)) },
					Machines: func() int {
						inv, err := w.s.List(t.Context())
						w.ck(err)
						return len(inv.Machines)
					}}
			})
		})
	}
}

// web is a machine with something of all that is kept.
func web() vcenter.Machine {
	return vcenter.Machine{Name: "web 1 ü", Folder: "a/b", Datastore: "ds-1", Network: "DC0_DVPG0", On: true, Tracking: true, Firmware: "efi",
		Tags: []string{"tier/gold", "site/north"}, Attributes: map[string]string{"owner": "ops"}, Extra: map[string]string{"guestinfo.role": "front"},
		Disks: []vcenter.Disk{disk(1, 6*mib), disk(2, 2*mib+512)}}
}

// Goal: a machine that is gone comes back as itself. Method: it is backed up,
// destroyed and brought back, switched on; what a new backup keeps of it must be
// what the first one kept, its bytes too.
func TestRestoreGone(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	before, p := w.settings(id)
	o := w.returnOf(id, p, 1)
	w.ck(w.v.Destroy(id))
	o.PowerOn, o.Pool = true, "C0"
	done, err := w.bring(w.s, o, p)
	w.ck(err)
	if done.Machine != id || done.Name != "web 1 ü" || !done.Kept || done.Via != "nfc" || len(done.Warnings) > 0 {
		t.Fatalf("returned %+v", done)
	}
	w.same(id, o, p)
	after, q := w.settings(id)
	for _, f := range o.Files {
		if !bytes.Equal(q.bytes[f.Key], p.bytes[f.Key]) {
			t.Errorf("a backup of it has another disk %s", f.Key)
		}
	}
	if !bytes.Equal(q.bytes["machine.nvram"], p.bytes["machine.nvram"]) || len(p.bytes["machine.nvram"]) == 0 {
		t.Errorf("its NVRAM is another: %d bytes and %d", len(q.bytes["machine.nvram"]), len(p.bytes["machine.nvram"]))
	}
	a, b := before, after
	for what, pair := range map[string][2]any{
		"folder": {a.Folder, b.Folder}, "tags": {a.Tags, b.Tags}, "attributes": {a.Attributes, b.Attributes}, "networks": {a.Networks, b.Networks},
		"BIOS id": {a.BIOS, b.BIOS}, "firmware": {a.Config.Firmware, b.Config.Firmware}, "guest": {a.Config.GuestId, b.Config.GuestId},
		"version": {a.Config.Version, b.Config.Version}, "CPUs": {a.Config.Hardware.NumCPU, b.Config.Hardware.NumCPU},
		"memory": {a.Config.Hardware.MemoryMB, b.Config.Hardware.MemoryMB}, "role": {extra(a, "guestinfo.role"), "front"},
		"mark": {extra(b, "holdfast.restore"), o.Name}, "disks": {places(a), places(b)},
	} {
		if fmt.Sprint(pair[0]) != fmt.Sprint(pair[1]) {
			t.Errorf("%s was %v and is %v", what, pair[0], pair[1])
		}
	}
	inv, err := w.s.List(t.Context())
	w.ck(err)
	if m := inv.Machines[0]; len(inv.Machines) != 1 || !slices.Equal(m.Datastores, []string{"ds-1"}) || m.Folder != a.Folder {
		t.Errorf("it is %+v", m)
	}
	if err := w.v.PowerOff(id); err != nil {
		t.Errorf("it was not switched on: %v", err)
	}
	w.left()
}

func extra(t *vsphere.Settings, key string) string {
	for _, e := range t.Config.ExtraConfig {
		if v := e.GetOptionValue(); v.Key == key {
			return fmt.Sprint(v.Value)
		}
	}
	return ""
}

func places(t *vsphere.Settings) (all []string) {
	for _, d := range t.Disks {
		all = append(all, fmt.Sprint(d.Key, d.Place, d.Size, d.Thin))
	}
	slices.Sort(all)
	return all
}

// Goal: a copy beside the original, elsewhere in each regard, shares nothing with
// it. Method: name, folder, pool, datastore and network are all others.
func TestRestoreCopy(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	w.add(vcenter.Machine{Name: "there", Folder: "c", Pool: "spare"})
	before, p := w.settings(id)
	o := w.returnOf(id, p, 1)
	o.As, o.Folder, o.Pool, o.Datastore, o.Networks = "copy", "c", "C0/spare", "ds-0", map[string]string{"DC0_DVPG0": "VM Network"}
	done, err := w.bring(w.s, o, p)
	w.ck(err)
	if done.Machine == id || done.Kept || done.Name != "copy" || len(done.Warnings) > 0 {
		t.Fatalf("returned %+v", done)
	}
	w.same(done.Machine, o, p)
	w.same(id, o, p)
	after, q := w.settings(done.Machine)
	if !bytes.Equal(q.bytes["machine.nvram"], p.bytes["machine.nvram"]) || len(p.bytes["machine.nvram"]) == 0 {
		t.Errorf("the copy's NVRAM is not the original's: %d bytes, %d", len(q.bytes["machine.nvram"]), len(p.bytes["machine.nvram"]))
	}
	if after.BIOS == before.BIOS || after.Networks[0].MAC == before.Networks[0].MAC || after.Networks[0].MAC == "" {
		t.Errorf("the copy has the BIOS id %s, the MAC %s; the original %s, %s", after.BIOS, after.Networks[0].MAC, before.BIOS, before.Networks[0].MAC)
	}
	if after.Folder != "/DC0/vm/c" || after.Networks[0].Network != "VM Network" || !strings.HasPrefix(after.Disks[0].Backing, "[ds-0] ") {
		t.Errorf("the copy is in %s on %s and %s", after.Folder, after.Networks[0].Network, after.Disks[0].Backing)
	}
	if before.Networks[0].Network != "DC0_DVPG0" {
		t.Errorf("the original is on %q", before.Networks[0].Network)
	}
	if c := w.v.Counters(); c.Uploaded == 0 || c.Uploaded > 7*mib {
		t.Errorf("%d bytes were uploaded; a quarter of 8 MiB is zero", c.Uploaded)
	}
	w.left()
}

// A machine comes back in another vCenter as it was, unless it lives on.
func TestRestoreIntoAnother(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	before, p := w.settings(id)
	b := newWorld(t, "auto")
	b.add(vcenter.Machine{Name: "resident", Folder: "a/b", Tags: []string{"tier/gold"}})
	for serial, copied := range []bool{false, true} {
		o := w.returnOf(id, p, serial)
		o.Copy, o.As = copied, fmt.Sprint("moved ", serial)
		done, err := b.bring(b.s, o, p)
		w.ck(err)
		if done.Kept == copied || (done.Machine == id) == copied {
			t.Errorf("copied %v: returned %+v", copied, done)
		}
		b.same(done.Machine, o, p)
		after, _ := b.settings(done.Machine)
		if (after.Networks[0].MAC == before.Networks[0].MAC) == copied {
			t.Errorf("copied %v: the MAC was %s and is %s", copied, before.Networks[0].MAC, after.Networks[0].MAC)
		}
		said := strings.Join(done.Warnings, "\n")
		if !strings.Contains(said, `no tag "site/north"`) || !strings.Contains(said, `no attribute "owner"`) || strings.Contains(said, "gold") {
			t.Errorf("warnings %q", done.Warnings)
		}
	}
	w.left()
	b.left()
}

// Each order that can't be carried out is refused before a byte goes, and names
// what is not there.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	_, p := w.settings(id)
	w.v.Inject(vcenter.TaskFails{Method: "ImportVApp", Call: true}) // none comes as far
	for name, c := range map[string]struct {
		change func(*source.Return)
		why    string
	}{
		"name":          {func(o *source.Return) { o.As = "" }, `there is a machine "web 1 ü" in folder /DC0/vm/a/b already`},
		"folder":        {func(o *source.Return) { o.Folder = "a/none" }, `folder "a/none" is not here; there is`},
		"pool":          {func(o *source.Return) { o.Pool = "C9" }, `pool "C9" is not here; there is /DC0/host/C0`},
		"datastore":     {func(o *source.Return) { o.Datastore = "ds-9" }, `datastore "ds-9" is not here; there is /DC0/datastore/ds-0, /DC0/datastore/ds-1`},
		"network":       {func(o *source.Return) { o.Networks = map[string]string{"DC0_DVPG0": "blue"} }, `has no network "blue"`},
		"no such card":  {func(o *source.Return) { o.Networks = map[string]string{"red": "VM Network"} }, `on no network "red"; it was on "DC0_DVPG0"`},
		"no settings":   {func(o *source.Return) { delete(o.Kept, "settings.json") }, "no settings.json"},
		"bad settings":  {func(o *source.Return) { o.Kept["settings.json"] = []byte("{}") }, "settings.json: format"},
		"unknown disk":  {func(o *source.Return) { o.Files[0].Key = "disk-x" }, "2 disks, and its settings.json knows 1"},
		"powered on":    {func(o *source.Return) { o.InPlace, o.As = true, "" }, "it is poweredOn: switch it off first"},
		"in place name": {func(o *source.Return) { o.InPlace = true }, "keeps its name"},
	} {
		o := w.returnOf(id, p, 1)
		o.As = "new"
		c.change(&o)
		_, err := w.bring(w.s, o, p)
		if !source.IsRefused(err) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want a refusal with %q", name, err, c.why)
		}
	}
	w.ck(w.v.PowerOff(id))
	w.ck(w.v.Snapshot(id, "before the update"))
	o := w.returnOf(id, p, 1)
	o.InPlace = true
	if _, err := w.bring(w.s, o, p); !source.IsRefused(err) || !strings.Contains(err.Error(), `1 snapshots ("before the update"): remove them first`) {
		t.Errorf("a snapshot: %v", err)
	}
	if c := w.v.Counters(); c.Uploaded+c.Put > 0 {
		t.Errorf("%d bytes were written", c.Uploaded+c.Put)
	}
	w.left()
}

// Goal: in place only what differs is written, and the next backup does not
// believe the tracking of before. Method: a machine is backed up, changed in known
// places, restored in place; then backed up on that base.
func TestRestoreInPlace(t *testing.T) {
	for name, whole := range map[string]bool{"ranges": false, "whole": true} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, v: start(t, vcenter.Options{WholePut: whole}), log: &lines{}}
			w.s = open(t, options(w.v))
			id := w.add(web())
			o, p := w.kept(id, 1)
			for _, at := range []int64{5, 3*mib + 7, 6*mib - 3} {
				w.write(id, 0, at, []byte{1, 2, 3})
			}
			w.ck(w.v.PowerOff(id))
			w.v.Forget()
			o.InPlace, o.PowerOn = true, true
			done, err := w.bring(w.s, o, p)
			w.ck(err)
			w.same(id, o, p)
			via, most := "datastore ranges", int64(3*32<<10)
			if whole {
				via, most = "whole disks", 6*mib
			}
			if c := w.v.Counters(); c.Put != most || done.Via != via || len(done.Warnings) > 0 {
				t.Errorf("%d bytes were written, want %d; %+v", c.Put, most, done)
			}
			if inv, err := w.s.List(t.Context()); err != nil || !inv.Machines[0].Tracking {
				t.Errorf("change tracking was on, and is not again; %v", err)
			}
			w.write(id, 0, mib, []byte("the guest goes on"))
			q, err := w.backup(source.Order{Machine: id, Name: "holdfast-after"}, p, nil)
			w.ck(err)
			if !bytes.Equal(q.bytes[o.Files[0].Key], w.guest(id, 0)) || q.why == "" {
				t.Errorf("the next backup is not the disk, or believed the old tracking: %q", q.why)
			}
			if q.files[o.Files[0].Key].ChangeID == "" {
				t.Error("change tracking was on, and is not again")
			}
			w.left()
		})
	}
}

// Goal: trouble at the vCenter leaves nothing half made, and says what it was.
// Method: each fault strikes a restore once; then the same order is carried out.
func TestRestoreFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault     vcenter.Fault
		why       string
		permanent bool
	}{
		"lease dies":     {vcenter.LeaseDies{When: vcenter.When{Max: 1}, After: 3 * mib}, "its upload broke", false},
		"stream cut":     {vcenter.StreamCut{When: vcenter.When{Max: 1}, At: 2 * mib}, "its upload broke", false},
		"full at once":   {vcenter.DatastoreFull{When: vcenter.When{Max: 1, Machine: "new"}}, `datastore "ds-1" is full`, true},
		"full midway":    {vcenter.DatastoreFull{When: vcenter.When{Max: 1, Skip: 20, Machine: "new"}}, "no space left", true},
		"session at end": {vcenter.SessionExpires{When: vcenter.When{Max: 1}, Method: "HttpNfcLeaseComplete"}, "lease", false},
		"mark fails":     {vcenter.TaskFails{When: vcenter.When{Max: 1, Machine: "new"}, Method: "ReconfigVM_Task"}, "mark it as whole", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "auto")
			id := w.add(web())
			o, p := w.kept(id, 1)
			o.As = "new"
			undo := w.v.Inject(c.fault)
			_, err := w.bring(w.s, o, p)
			undo()
			if err == nil || !strings.Contains(err.Error(), c.why) || source.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), "new") {
				t.Fatalf("%v; want %q, permanent %v", err, c.why, c.permanent)
			}
			inv, err := w.s.List(t.Context())
			w.ck(err)
			if len(inv.Machines) != 1 {
				t.Errorf("left: %+v", inv.Machines[1:])
			}
			w.left()
			done, err := w.bring(w.s, o, p)
			w.ck(err)
			w.same(done.Machine, o, p)
		})
	}
}

// A wrong password is told at once: nobody waits ten minutes for it to come right.
func TestRestoreWrongPassword(t *testing.T) {
	w := newWorld(t, "auto")
	o, p := w.kept(w.add(web()), 1)
	wrong := options(w.v)
	wrong.Password = func() (string, error) { return "wrong", nil }
	if _, err := w.bring(open(t, wrong), o, p); !source.IsPermanent(err) || source.IsRefused(err) || !strings.Contains(err.Error(), "wrong user name or password") {
		t.Errorf("%v", err)
	}
}

// What another process left half made goes when its lease has died, and no
// machine of anybody else's.
func TestRestoreLeftByTheDead(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	o, _ := w.kept(id, 1)
	o.As = "half"
	dead := open(t, options(w.v))
	if _, err := dead.Return(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.EndReturn(t.Context(), o); err == nil || !strings.Contains(err.Error(), "a lease that died holds it yet") {
		t.Fatalf("its lease lives: %v", err)
	}
	w.v.ExpireSessions()
	for range 2 {
		if done, err := w.s.EndReturn(t.Context(), o); done != nil || err != nil {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	inv, err := w.s.List(t.Context())
	w.ck(err)
	if len(inv.Machines) != 1 || inv.Machines[0].ID != id {
		t.Errorf("there is %+v", inv.Machines)
	}
	w.left()
}

// Goal: no backup stands on bytes that a restore changes. Method: a return in place
// that has begun to write keeps a backup away; given up, or finished, it does not,
// and change tracking is on again only after the end.
func TestRestoreInPlaceKeepsBackupsAway(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(web())
	o, p := w.kept(id, 1)
	w.ck(w.v.PowerOff(id))
	o.InPlace = true
	begin := func() source.Returning {
		r, err := w.s.Return(t.Context(), o)
		w.ck(err)
		d, err := r.Disk(t.Context(), o.Files[0])
		w.ck(err)
		_, err = d.WriteAt([]byte("half"), 100)
		w.ck(err)
		return r
	}
	r := begin()
	if _, err := w.backup(source.Order{Machine: id, Name: "holdfast-early"}, nil, nil); err == nil || source.IsPermanent(err) || !strings.Contains(err.Error(), "it is being restored (holdfast-restore-") {
		t.Errorf("a backup of what is being restored: %v", err)
	}
	w.ck(r.Abort(t.Context()))
	if _, err := w.backup(source.Order{Machine: id, Name: "holdfast-late"}, nil, nil); err != nil {
		t.Errorf("a backup of what was given up: %v", err)
	}
	begin()
	done, err := w.s.EndReturn(t.Context(), o) // another process
	if done != nil || err != nil {
		t.Errorf("%+v, %v", done, err)
	}
	_, err = w.bring(w.s, o, p)
	w.ck(err)
	w.same(id, o, p)
	if inv, err := w.s.List(t.Context()); err != nil || !inv.Machines[0].Tracking {
		t.Errorf("change tracking is not on again; %v", err)
	}
	w.ck(w.v.Snapshot(id, "by hand"))
	r2 := w.returnOf(id, p, 2)
	r2.InPlace = true
	if _, err := w.s.Return(t.Context(), r2); !source.IsRefused(err) {
		t.Errorf("with a snapshot: %v", err)
	}
	w.left()
}

// An import that waits for its bytes lives longer than its lease's timeout: the
// vault may be slow.
func TestRestoreKeepsItsLeaseAlive(t *testing.T) {
	w := &world{T: t, v: start(t, vcenter.Options{LeaseTimeout: 2 * time.Second}), log: &lines{}}
	w.s = open(t, options(w.v))
	o, p := w.kept(w.add(web()), 1)
	o.As = "slow"
	r, err := w.s.Return(t.Context(), o)
	w.ck(err)
	time.Sleep(4 * time.Second) // what is tested is that time passes
	for _, f := range o.Files {
		s, err := r.Stream(t.Context(), f)
		w.ck(err)
		w.ck(s.Write(0, p.bytes[f.Key]))
		w.ck(s.Close())
	}
	done, err := r.Finish(t.Context())
	w.ck(err)
	w.same(done.Machine, o, p)
	w.left()
}
