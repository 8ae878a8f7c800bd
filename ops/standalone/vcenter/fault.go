package vcenter

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// When says at which machine or datastore a fault strikes, and how often.
type When struct {
	Machine   string // name or instance UUID; "": any
	Datastore string // "": any
	Skip      int    // lets that many pass
	Max       int    // strikes that often; 0: until it is undone
}

// Fault is one kind of trouble: the types below.
type Fault interface{ when() When }

func (w When) when() When { return w }

// QuiesceFails: a snapshot that asks for quiescence fails with
// ApplicationQuiesceFault, as a failed task or (Call) at the call.
type QuiesceFails struct {
	When
	Call bool
}

// TaskFails: the method ("CreateSnapshot_Task", "RemoveSnapshot_Task",
// "ExportSnapshot", any) fails with Err; nil: a GenericVmConfigFault. A method
// without a task fails at the call, as any does with Call.
type TaskFails struct {
	When
	Method string
	Call   bool
	Err    types.BaseMethodFault
}

// SnapshotGhost: the snapshot is made and its caller is told otherwise: the task
// fails, or (Call) the answer to the call is lost on the wire.
type SnapshotGhost struct {
	When
	Call bool
}

// LeaseDies: the lease goes to its error state once After bytes of disks went
// through it; with 0 at the next progress or stream.
type LeaseDies struct {
	When
	After int64
}

// StreamCut: the connection of an NFC transfer is cut after At bytes.
type StreamCut struct {
	When
	At int64
}

// SessionExpires: all sessions end just before Method is called ("": any).
type SessionExpires struct {
	When
	Method string
}

// CBTReset: the next snapshot finds changed block tracking begun anew.
type CBTReset struct{ When }

// ChangeIDForeign: the next snapshot says another disk's change ids.
type ChangeIDForeign struct{ When }

// CBTLies: QueryChangedDiskAreas leaves out every second changed area, the first
// of an answer included.
type CBTLies struct{ When }

// DatastoreSlow: each read of up to 1 MiB from the datastore takes that much longer.
type DatastoreSlow struct {
	When
	Delay time.Duration
}

// DatastoreFull: what needs space fails with NoDiskSpace.
type DatastoreFull struct{ When }

// faults are those in force.
type faults struct {
	mu  sync.Mutex
	all []*armed
}

type armed struct {
	Fault
	seen, struck int
}

// Inject puts a fault in force until it is undone, or struck as often as it says.
func (v *VCenter) Inject(f Fault) (undo func()) {
	a := &armed{Fault: f}
	v.faults.mu.Lock()
	defer v.faults.mu.Unlock()
	v.faults.all = append(v.faults.all, a)
	return func() {
		v.faults.mu.Lock()
		defer v.faults.mu.Unlock()
		for i := range v.faults.all {
			if v.faults.all[i] == a {
				v.faults.all = append(v.faults.all[:i:i], v.faults.all[i+1:]...)
				return
			}
		}
	}
}

// strike finds the first fault of type F that is in force for m and fits, and
// counts it; fits may be nil.
func strike[F Fault](v *VCenter, m *machine, fits func(F) bool) (F, bool) {
	v.faults.mu.Lock()
	defer v.faults.mu.Unlock()
	for _, a := range v.faults.all {
		f, ok := a.Fault.(F)
		if !ok || !f.when().hits(m) || fits != nil && !fits(f) {
			continue
		}
		w := f.when()
		if a.seen++; a.seen <= w.Skip || w.Max > 0 && a.struck >= w.Max {
			continue
		}
		a.struck++
		return f, true
	}
	var none F
	return none, false
}

func (w When) hits(m *machine) bool {
	if m == nil {
		return w.Machine == "" && w.Datastore == ""
	}
	return (w.Machine == "" || w.Machine == m.id || w.Machine == m.name()) && (w.Datastore == "" || w.Datastore == m.datastore())
}

// failing is TaskFails of a method, as a call or as a task.
func (v *VCenter) failing(m *machine, method string, call bool) types.BaseMethodFault {
	f, ok := strike(v, m, func(f TaskFails) bool { return f.Method == method && f.Call == call })
	if !ok {
		return nil
	}
	if f.Err != nil {
		return f.Err
	}
	return generic("injected into " + method)
}

// generic is what vCenter says when it has nothing better.
func generic(reason string) types.BaseMethodFault {
	return &types.GenericVmConfigFault{VmConfigFault: types.VmConfigFault{VimFault: types.VimFault{MethodFault: types.MethodFault{
		FaultMessage: []types.LocalizableMessage{{Key: "holdfast.demo", Message: reason}}}}}, Reason: reason}
}

func invalid(property string) types.BaseMethodFault {
	return &types.InvalidArgument{InvalidProperty: property}
}
