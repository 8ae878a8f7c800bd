package vsphere_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// Two machines of one instance UUID can't be told apart, so neither is taken for
// the other.
func TestTwins(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "one", Tracking: true, Disks: []vcenter.Disk{disk(1, mib)}})
	w.add(vcenter.Machine{Name: "two", ID: id, Tracking: true, Disks: []vcenter.Disk{disk(2, mib)}})
	inv, err := w.s.List(t.Context())
	w.ck(err)
	if len(inv.Machines) != 1 || len(inv.Findings) != 1 || !strings.Contains(inv.Findings[0], `"one" and "two" have the same instance UUID`) ||
		!strings.Contains(strings.Join(inv.Machines[0].Findings, ";"), inv.Findings[0]) {
		t.Errorf("listed %+v, findings %q", inv.Machines, inv.Findings)
	}
	o := source.Order{Machine: id, Name: "holdfast-one"}
	if _, err := w.s.Prepare(t.Context(), o); !source.IsPermanent(err) || !strings.Contains(err.Error(), "2 machines of that instance UUID") {
		t.Errorf("prepare: %v", err)
	}
	w.ck(w.s.End(t.Context(), o))
}

// Goal: what is read under a reference that has come to name another machine is no
// backup of this one. Method: the reference changes under Prepare, which must refuse
// and leave no snapshot there, and after it, which Check must find. The soak saw both,
// of a vCenter that was started anew: points that held another machine's disks.
func TestReferencesThatNameAnother(t *testing.T) {
	w := newWorld(t, "auto")
	one := w.add(vcenter.Machine{Name: "one", Tracking: true, Disks: []vcenter.Disk{disk(1, mib)}})
	two := w.add(vcenter.Machine{Name: "two", Tracking: true, Disks: []vcenter.Disk{disk(2, mib)}})
	if _, err := w.s.PrepareAt(t.Context(), source.Order{Machine: one, Name: "holdfast-one"}, two); err == nil || source.IsPermanent(err) || !strings.Contains(err.Error(), `they are those of machine "two"`) {
		t.Errorf("prepared under another machine's reference: %v, want an error for a retry", err)
	}
	if open := w.v.Counters().Open; len(open) > 0 {
		t.Errorf("%q are left", open)
	}
	prepare := func(id, name string) source.Snapshot {
		snap, err := w.s.Prepare(t.Context(), source.Order{Machine: id, Name: name})
		w.ck(err)
		return snap
	}
	a, b := prepare(one, "holdfast-one"), prepare(two, "holdfast-two")
	for _, snap := range []source.Snapshot{a, b} {
		if _, err := snap.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	vsphere.Swap(a, b)
	if _, err := a.Check(t.Context()); err == nil {
		t.Error("checked under another machine's reference: it is said to be ours")
	}
}

// More machines than one answer holds are all listed. (1000 took 4 s.)
func TestListOfMany(t *testing.T) {
	w := newWorld(t, "auto")
	const machines, tagged = 520, 20
	var adding errgroup.Group
	adding.SetLimit(8)
	for i := range machines {
		m := vcenter.Machine{Name: fmt.Sprint("m", i), Disks: []vcenter.Disk{{Size: mib}}}
		if i%(machines/tagged) == 0 {
			m.Name, m.Tags = fmt.Sprint("tagged", i), []string{"tier/gold", fmt.Sprint("own/", i)}
		}
		adding.Go(func() error {
			_, err := w.v.Add(m)
			return err
		})
	}
	w.ck(adding.Wait())
	begin := time.Now()
	inv, err := w.s.List(t.Context())
	w.ck(err)
	t.Logf("%d machines listed in %s", len(inv.Machines), time.Since(begin).Round(time.Millisecond))
	for _, m := range inv.Machines {
		if (len(m.Tags) == 2) != strings.HasPrefix(m.Name, "tagged") || len(m.Disks) != 1 || m.Cluster == "" {
			t.Fatalf("listed %+v", m)
		}
	}
	if len(inv.Machines) != machines {
		t.Errorf("%d are listed", len(inv.Machines))
	}
}
