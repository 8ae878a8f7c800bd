package vsphere_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
	"github.com/holdfast-backup/holdfast/schemas"
)

// The inventory says where each machine is, under the name that people know, and
// what of it will not be as they think.
func TestList(t *testing.T) {
	w := newWorld(t, "auto")
	one := func(m vcenter.Machine) vcenter.Machine {
		if m.Disks == nil {
			m.Disks = []vcenter.Disk{disk(1, mib)}
		}
		return m
	}
	odd := "wëb/1 'x' \"y\" 100% \\ %2f"
	for _, m := range []vcenter.Machine{
		{Name: odd, Folder: "ü ber/fr%ont", Host: "esx-1", Datastore: "ds-1", Tracking: true, Tags: []string{"tier/gold", "app/web shop"}},
		{Name: "independent", Disks: []vcenter.Disk{disk(1, mib), {Size: mib, Mode: "independent_persistent"}}},
		{Name: "rdm", Disks: []vcenter.Disk{disk(1, mib), {Size: mib, Mode: "rdm"}}},
		{Name: "multi", Disks: []vcenter.Disk{disk(1, mib), {Size: mib, Mode: "shared"}}},
		{Name: "bus", SharedBus: true}, {Name: "passthrough", Passthrough: true}, {Name: "encrypted", Encrypted: true},
		{Name: "old", Version: "vmx-4"}, {Name: "fine", Tracking: true}, {Name: "off"}, {Name: "snapped"},
		{Name: "twin", Tracking: true}, {Name: "twin", Tracking: true},
	} {
		id := w.add(one(m))
		if m.Name == "snapped" {
			w.ck(w.v.Snapshot(id, "mine"))
		}
	}
	inv, err := w.s.List(t.Context())
	w.ck(err)
	by := map[string]source.Machine{}
	for _, m := range inv.Machines {
		by[m.Name] = m
	}
	if len(inv.Machines) != 13 || len(by) != 12 {
		t.Errorf("listed %d machines of %d names", len(inv.Machines), len(by))
	}
	m := by[odd]
	if !strings.HasSuffix(m.Folder, "/ü ber/fr%ont") || m.Host != "esx-1" || m.Cluster != "C0" || !m.Tracking || len(m.Findings) > 0 ||
		!slices.Equal(m.Datastores, []string{"ds-1"}) || !slices.Equal(m.Tags, []string{"app/web shop", "tier/gold"}) || len(m.Disks) != 1 || m.Disks[0].Size != mib {
		t.Errorf("listed as %+v", m)
	}
	for name, want := range map[string]string{
		"independent": "is independent, and so in no snapshot", "rdm": "raw device mapping in physical mode", "multi": "may be written by several machines",
		"bus": "shared bus", "passthrough": "passed through", "encrypted": "its home is encrypted", "old": "hardware version 4 is below 7",
		"off": "change tracking is off: the first backup turns it on", "snapped": "has 1 snapshots that are not Holdfast's ([\"mine\"])", "fine": "",
	} {
		said := strings.Join(by[name].Findings, "; ")
		if !strings.Contains(said, want) || want == "" && said != "" {
			t.Errorf("findings of %s: %q, want %q", name, said, want)
		}
		if want == "" {
			continue
		}
		if i := strings.IndexAny(said, ":;"); i < 0 {
			t.Errorf("findings of %s do not say what to do: %q", name, said)
		}
	}
}

// Names that break paths and patterns are backed up, and read by ranges too.
func TestOddNames(t *testing.T) {
	w := newWorld(t, "auto")
	for i, name := range []string{"wëb/1", `back\slash`, "100% 'quoted' \"double\" & <tag>", "%2f", "a b  c", "ünïcödé-\U0001F4BE", "a?b#c=d+e"} {
		id := w.add(vcenter.Machine{Name: name, On: true, Tracking: true, Disks: []vcenter.Disk{disk(uint64(i), mib)}})
		o := source.Order{Machine: id, Name: "holdfast-one"}
		base, err := w.backup(o, nil, nil)
		if err != nil {
			t.Errorf("full of %q: %v", name, err)
			continue
		}
		w.write(id, 0, 300, []byte("changed"))
		o.Name = "holdfast-two"
		p, err := w.backup(o, base, nil)
		if err != nil {
			t.Errorf("incremental of %q: %v", name, err)
			continue
		}
		key := w.keys(id)[0]
		if string(p.bytes[key]) != string(w.guest(id, 0)) || p.files[key].Via != "datastore" || len(p.warns) > 0 {
			t.Errorf("%q: read via %q, equal %v, warnings %q", name, p.files[key].Via, string(p.bytes[key]) == string(w.guest(id, 0)), p.warns)
		}
		if err := w.v.Snapshot(id, "mine"); err != nil {
			t.Fatal(err)
		}
		w.s.Prepare(t.Context(), source.Order{Machine: "nobody"})
		_, err = w.s.Resume(t.Context(), o, "x")
		if want := fmt.Sprintf("machine %q", name); !errors.Is(err, source.ErrGone) || !strings.Contains(err.Error(), want) {
			t.Errorf("an error about %q names it otherwise: %v", name, err)
		}
	}
	w.left()
}

// Snapshots of ours are found with their machines, and a person's are not.
func TestMarks(t *testing.T) {
	w := newWorld(t, "auto")
	before := time.Now().Add(-time.Minute)
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, mib)}})
	w.ck(w.v.Snapshot(id, "before the upgrade"))
	o := source.Order{Machine: id, Name: "holdfast-one", Quiesce: schemas.Options_QUIESCE_OFF}
	_, err := w.s.Prepare(t.Context(), o)
	w.ck(err)
	w.ck(w.v.Snapshot(id, "on top"))
	all, err := w.s.Marks(t.Context())
	w.ck(err)
	if len(all) != 1 || all[0].Name != o.Name || all[0].Machine != id || all[0].Since.Before(before) {
		t.Errorf("marks: %+v", all)
	}
	w.ck(w.s.End(t.Context(), source.Order{Machine: all[0].Machine, Name: all[0].Name}))
	if all, err = w.s.Marks(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("marks after the end: %v, %v", all, err)
	}
	if open := w.v.Counters().Open; len(open) != 2 {
		t.Errorf("a person's snapshots: %q", open)
	}
}
