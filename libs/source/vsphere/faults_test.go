package vsphere_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
	"github.com/holdfast-backup/holdfast/schemas"
)

// trouble is one thing that goes wrong in one backup, and what must come of it.
type trouble struct {
	inject  vcenter.Fault
	quiesce schemas.Options_Quiesce
	tools   string                    // of the guest
	before  func(w *world, id string) // Prepare
	during  func(w *world, id string) // Prepare and the first read

	err       string // the backup fails, and says that; with the machine
	permanent bool
	gone      bool
	disk      bool   // the error names the disk too
	warn      string // it succeeds, and warns
	why       string // it succeeds, and reads all of a disk because
	full, inc bool   // only of a full, only of an incremental
	stays     bool   // the trouble stays: the next backup is not tried
	level     schemas.Consistency
}

var (
	quiesceFails = vcenter.QuiesceFails{When: vcenter.When{Machine: "web"}}
	quiesceOnce  = vcenter.QuiesceFails{When: vcenter.When{Machine: "web", Max: 2}}
	quiesceCall  = vcenter.QuiesceFails{When: vcenter.When{Machine: "web"}, Call: true}
)

const (
	require = schemas.Options_QUIESCE_REQUIRE
	off     = schemas.Options_QUIESCE_OFF
	crash   = schemas.Consistency_CONSISTENCY_CRASH
)

func task(method string, err types.BaseMethodFault) vcenter.TaskFails {
	return vcenter.TaskFails{When: vcenter.When{Max: 1}, Method: method, Err: err}
}

func call(method string, err types.BaseMethodFault) vcenter.TaskFails {
	return vcenter.TaskFails{When: vcenter.When{Max: 1}, Method: method, Err: err, Call: true}
}

var troubles = map[string]trouble{
	"quiesce fails as a task, tried":    {inject: quiesceFails, warn: "could not be quiesced in 3 tries", level: crash},
	"quiesce fails as a call, tried":    {inject: quiesceCall, warn: "could not be quiesced in 3 tries", level: crash},
	"quiesce fails twice":               {inject: quiesceOnce},
	"quiesce fails, required":           {inject: quiesceFails, quiesce: require, err: "quiesce is required, and the guest could not be quiesced in 3 tries", permanent: true},
	"quiesce fails as a call, required": {inject: quiesceCall, quiesce: require, err: "quiesce is required", permanent: true},
	"quiesce fails, off":                {inject: quiesceFails, quiesce: off, level: crash},
	"no tools, tried":                   {tools: "none", warn: "VMware Tools do not run in it; the backup is crash-consistent", level: crash},
	"no tools, required":                {tools: "none", quiesce: require, err: "quiesce is required, and the guest could not be quiesced: VMware Tools do not run", permanent: true, stays: true},
	"off, required": {quiesce: require, level: crash, warn: "was off when the snapshot was taken",
		before: func(w *world, id string) { w.ck(w.v.PowerOff(id)) }},

	"snapshot task fails":        {inject: task("CreateSnapshot_Task", nil), err: "injected into CreateSnapshot_Task"},
	"snapshot call fails":        {inject: call("CreateSnapshot_Task", &types.TaskInProgress{}), err: "another task works on the machine"},
	"snapshot made, task fails":  {inject: vcenter.SnapshotGhost{When: vcenter.When{Max: 1}}, err: "snapshot: "},
	"snapshot made, answer lost": {inject: vcenter.SnapshotGhost{When: vcenter.When{Max: 1}, Call: true}, err: "snapshot: vCenter 127.0.0.1:"},
	"no right":                   {inject: call("CreateSnapshot_Task", &types.NoPermission{PrivilegeId: "VirtualMachine.State.CreateSnapshot"}), err: `lacks the right "VirtualMachine.State.CreateSnapshot"`},
	"host gone":                  {inject: task("CreateSnapshot_Task", &types.HostNotConnected{}), err: "its host does not answer"},
	"datastore full":             {inject: vcenter.DatastoreFull{When: vcenter.When{Max: 1}}, err: "is full: free some space"},
	"datastore slow":             {inject: vcenter.DatastoreSlow{When: vcenter.When{Max: 20}, Delay: 10 * time.Millisecond}},

	"export fails":         {inject: task("ExportSnapshot", nil), full: true, err: "export snapshot holdfast-two"},
	"lease dies at once":   {inject: vcenter.LeaseDies{When: vcenter.When{Max: 1}}, full: true, err: "its stream", disk: true},
	"lease dies":           {inject: vcenter.LeaseDies{When: vcenter.When{Max: 1}, After: mib}, full: true, err: "its stream broke at", disk: true},
	"stream cut at once":   {inject: vcenter.StreamCut{When: vcenter.When{Max: 1}}, full: true, err: "open its stream", disk: true},
	"stream cut":           {inject: vcenter.StreamCut{When: vcenter.When{Max: 1}, At: mib + 77}, full: true, err: "its stream broke at", disk: true},
	"stream of disk 2 cut": {inject: vcenter.StreamCut{When: vcenter.When{Skip: 1, Max: 1}, At: 1000}, full: true, err: "its stream", disk: true},
	"session, lease with it": {full: true, err: "its stream", disk: true, during: func(w *world, id string) {
		w.v.Inject(vcenter.StreamCut{When: vcenter.When{Max: 1}, At: mib})
		w.v.ExpireSessions()
	}},
	"session":               {inject: vcenter.SessionExpires{When: vcenter.When{Max: 1}}},
	"CBT reset":             {inject: vcenter.CBTReset{When: vcenter.When{Max: 1}}, inc: true, why: "change tracking was reset"},
	"foreign change id":     {inject: vcenter.ChangeIDForeign{When: vcenter.When{Max: 1}}, inc: true, why: "change tracking was reset, or the base is another disk's"},
	"change id refused":     {inject: call("QueryChangedDiskAreas", &types.FileFault{File: "[ds-0] web/web.vmdk"}), inc: true, why: "the host can't tell changes since"},
	"changes not to be had": {inject: call("QueryChangedDiskAreas", &types.HostNotConnected{}), inc: true, err: "ask for its changes", disk: true},

	"renamed":        {during: func(w *world, id string) { w.ck(w.v.Rename(id, "wëb 2/renamed")) }},
	"moved":          {during: func(w *world, id string) { w.ck(w.v.Move(id, "else/where")) }},
	"powered off":    {during: func(w *world, id string) { w.ck(w.v.PowerOff(id)) }},
	"deleted":        {gone: true, stays: true, err: "", during: func(w *world, id string) { w.ck(w.v.Destroy(id)) }},
	"deleted before": {gone: true, stays: true, err: "none of that instance UUID", before: func(w *world, id string) { w.ck(w.v.Destroy(id)) }},
	"disk grown": {inc: true, why: "the disk was resized from 4194304 to 6291456 bytes", before: func(w *world, id string) {
		w.ck(w.v.Disk(id, 0).Grow(6 * mib))
		w.write(id, 0, 5*mib, []byte("in the new part"))
	}},
	"disk added": {before: func(w *world, id string) {
		w.ck(w.v.AddDisk(id, mib))
		w.write(id, 2, 1000, []byte("on the new disk"))
	}},
	"person's snapshot removed meanwhile": {before: func(w *world, id string) { w.ck(w.v.Snapshot(id, "mine")) }, warn: "that are not Holdfast's"},
}

// Goal: whatever goes wrong in a backup is told with the machine, the disk and the
// cause, leaves nothing at the vCenter, and the next backup is right. Method: each
// trouble strikes a full and an incremental of a machine of two disks.
func TestFaults(t *testing.T) {
	for name, c := range troubles {
		for _, kind := range []string{"full", "incremental"} {
			if c.full && kind != "full" || c.inc && kind == "full" {
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) { c.run(t, kind == "full") })
		}
	}
}

func (c trouble) run(t *testing.T, full bool) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Tools: c.tools, Disks: []vcenter.Disk{disk(1, 4*mib), disk(2, 2*mib)}})
	var base *point
	var err error
	if !full {
		base, err = w.backup(source.Order{Machine: id, Name: "holdfast-one"}, nil, nil)
		w.ck(err)
	}
	w.write(id, 0, 100, []byte("changed"))
	w.write(id, 1, mib, []byte("changed"))
	if c.before != nil {
		c.before(w, id)
	}
	undo := func() {}
	if c.inject != nil {
		undo = w.v.Inject(c.inject)
	}
	var frozen [][]byte
	p, err := w.backup(source.Order{Machine: id, Name: "holdfast-two", Quiesce: c.quiesce}, base, func() {
		frozen = [][]byte{w.guest(id, 0), w.guest(id, 1)}
		if c.during != nil {
			c.during(w, id)
		}
	})
	undo()
	w.left()
	if c.err != "" || c.gone {
		c.failed(w, id, err)
	} else if err != nil {
		t.Fatal(err)
	} else {
		c.passed(w, id, p, frozen)
	}
	if c.stays {
		return
	}
	next, err := w.backup(source.Order{Machine: id, Name: "holdfast-three"}, p, nil)
	w.ck(err)
	for n, key := range w.keys(id) {
		if !bytes.Equal(next.bytes[key], w.guest(id, n)) {
			t.Errorf("disk %d of the next backup is not what it is", n)
		}
	}
	w.left()
}

func (c trouble) failed(w *world, id string, err error) {
	w.Helper()
	want := []string{c.err, id}
	if !c.gone {
		want = append(want, `machine "web"`)
	}
	if c.disk {
		want = append(want, "disk-")
	}
	for _, s := range want {
		if err == nil || !strings.Contains(err.Error(), s) {
			w.Fatalf("the error is %v, want %q in it", err, s)
		}
	}
	if source.IsPermanent(err) != c.permanent || errors.Is(err, source.ErrGone) != c.gone || errors.Is(err, source.ErrUntracked) {
		w.Errorf("permanent %v, gone %v: %v", source.IsPermanent(err), errors.Is(err, source.ErrGone), err)
	}
	w.Log(err)
}

func (c trouble) passed(w *world, id string, p *point, frozen [][]byte) {
	w.Helper()
	for n, key := range w.keys(id) {
		if n < len(frozen) && !bytes.Equal(p.bytes[key], frozen[n]) {
			w.Errorf("disk %d is not what it was when the snapshot was made", n)
		}
		if p.bytes[key] == nil {
			w.Errorf("disk %d is not in the backup", n)
		}
	}
	said := strings.Join(p.warns, "; ")
	if !strings.Contains(said, c.warn) || c.warn == "" && said != "" {
		w.Errorf("warnings %q, want %q", said, c.warn)
	}
	if !strings.Contains(p.why, c.why) || c.why == "" && p.why != "" {
		w.Errorf("all of a disk was read because %q, want %q", p.why, c.why)
	}
	if c.level == 0 {
		c.level = schemas.Consistency_CONSISTENCY_FILESYSTEM
	}
	if p.worth.Level != c.level {
		w.Errorf("the level is %v, want %v", p.worth.Level, c.level)
	}
}

// A snapshot that the vCenter is still making when its caller has given up is
// waited for by End, and goes too.
func TestEndWaitsForTheTask(t *testing.T) {
	const slow = 300 * time.Millisecond
	simulator.TaskDelay.MethodDelay = map[string]int{"createSnapshot": int(slow.Milliseconds()), "CreateSnapshot": int(slow.Milliseconds()), "LockHandoff": 0}
	defer func() { simulator.TaskDelay.MethodDelay = nil }()
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, mib)}})
	o := source.Order{Machine: id, Name: "holdfast-one"}
	begin := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), slow/2)
	defer stop()
	if _, err := w.s.Prepare(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("prepare, broken off: %v", err)
	}
	w.ck(w.s.End(t.Context(), o))
	if took := time.Since(begin); took < slow {
		t.Errorf("begun and ended in %s, and the snapshot's task takes %s", took, slow)
	}
	w.left()
}

// Goal: whenever Prepare is broken off, End leaves nothing. Method: it is, after
// ever more of its time, with the task at the vCenter going on.
func TestEndAfterCancel(t *testing.T) {
	w := newWorld(t, "auto")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, mib)}})
	begin := time.Now()
	_, err := w.s.Prepare(t.Context(), source.Order{Machine: id, Name: "holdfast-whole"})
	w.ck(err)
	whole, cut := time.Since(begin), 0
	w.ck(w.s.End(t.Context(), source.Order{Machine: id, Name: "holdfast-whole"}))
	for i := range 30 {
		o := source.Order{Machine: id, Name: fmt.Sprintf("holdfast-%d", i)}
		ctx, stop := context.WithTimeout(t.Context(), whole*time.Duration(i)/12)
		begin := time.Now()
		snap, err := w.s.Prepare(ctx, o)
		if err != nil {
			cut++
		} else {
			whole = min(whole, time.Since(begin)) // the machine was busy when it was measured
			snap.Close()
		}
		stop()
		w.ck(w.s.End(t.Context(), o))
		w.left()
	}
	if cut < 5 {
		t.Errorf("%d of 30 were broken off: the times are wrong for this machine", cut)
	}
}
