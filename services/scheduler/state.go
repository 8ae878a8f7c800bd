package scheduler

import (
	"bytes"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	pendingMax = 16       // orders of one machine that wait; more would only grow old in the queue
	doneMax    = 16       // ids remembered, so that a repeat of any order that could still wait is known
	pointMax   = 64 << 10 // bytes of a row's last point: 300 disks of 200 B; a larger one is no base
)

// state is all that a room knows. It does no I/O and reads no clock: an input
// changes it and says in effects what follows.
type state struct {
	limits   Limits
	sources  map[string]*source
	machines map[string]*machine // by key
	alarms   queue[byAlarm]
	atOnce   map[string]uint32 // of each policy that bounds its backups at one source
	epoch    uint64            // newest opened; 0: none heard of
	targets  map[string]*schemas.TargetTurned
	lease    func() schemas.UUID
	plans    plans
}

// source is what machines share: slots.
type source struct {
	name     string
	house    *state
	found    *schemas.SourceFound // nil: never listed
	machines []*machine
	where    map[string]where // of every machine that was found, by key
	used     used
	running  map[string]uint64 // backups with a snapshot slot, by policy
	brake    brake
	line     line
	survey   survey
	answers  map[*machine]answered // of who reads
}

// machine is a row and what is known beyond it in memory.
type machine struct {
	key       string
	source    *source
	row       *schemas.MachineTended
	deadline  time.Time // of the attempt under way
	wrote     time.Time // when the row last went out
	told      time.Time // when its last word went out
	ticket    *ticket   // in its source's line; nil: it could not be leased now
	alarmMs   int64     // when tick must look at it
	alarmSeat int       // in the state's alarms; -1: none is set
}

// effects are what follows from an input, in this order: what must be told
// before its row goes; rows, acknowledged; what must be told and is in a row.
type effects struct {
	first []*schemas.BackupLeased
	rows  []*machine
	then  []*schemas.BackupLeased

	has map[*machine]bool // rows
}

func newState(l Limits, lease func() schemas.UUID) *state {
	return &state{limits: l, sources: map[string]*source{}, machines: map[string]*machine{},
		targets: map[string]*schemas.TargetTurned{}, atOnce: map[string]uint32{}, lease: lease, plans: newPlans("")}
}

func machineKey(m *schemas.Machine) string { return m.GetSource() + "\n" + m.GetId() }

func (s *state) source(name string) *source {
	src := s.sources[name]
	if src == nil {
		src = &source{name: name, house: s, where: map[string]where{},
			line: line{places: map[string]*place{}, parked: map[spot][]*place{}, shares: map[string]*share{}}}
		s.sources[name] = src
	}
	return src
}

// machine returns what is known of m, from now on.
func (s *state) machine(m *schemas.Machine) *machine {
	key := machineKey(m)
	found := s.machines[key]
	if found == nil {
		found = &machine{key: key, source: s.source(m.GetSource()), row: &schemas.MachineTended{Machine: m}, alarmSeat: -1}
		s.machines[key] = found
		found.source.machines = append(found.source.machines, found)
	}
	return found
}

// recalled takes a row of the table as the truth. Only before begin.
func (s *state) recalled(row *schemas.MachineTended) {
	m := s.machine(row.GetMachine())
	m.row = proto.CloneOf(row)
}

// openBackup returns the open Run if it is of this backup.
func (m *machine) openBackup(backup []byte) *schemas.OpenRun {
	if o := m.row.GetOpen(); o != nil && bytes.Equal(o.GetRun().GetBackup(), backup) {
		return o
	}
	return nil
}

func (m *machine) pendingAt(backup []byte) int {
	return slices.IndexFunc(m.row.GetPending(), func(q *schemas.BackupQueued) bool { return bytes.Equal(q.GetBackup(), backup) })
}

// knows reports whether an order of this backup was taken before.
func (m *machine) knows(backup []byte) bool {
	return m.openBackup(backup) != nil || m.pendingAt(backup) >= 0 ||
		slices.ContainsFunc(m.row.GetDone(), func(id []byte) bool { return bytes.Equal(id, backup) })
}

// drop takes the order at i off the queue; its backup is over.
func (m *machine) drop(i int) {
	backup := m.row.GetPending()[i].GetBackup()
	m.row.Pending = slices.Delete(m.row.GetPending(), i, i+1)
	m.done(backup)
}

func (m *machine) done(backup []byte) {
	m.row.Done = append(m.row.GetDone(), backup)
	if over := len(m.row.GetDone()) - doneMax; over > 0 {
		m.row.Done = slices.Delete(m.row.GetDone(), 0, over)
	}
}

// write marks m's row to go out, once per input, as it stands at the end. It comes
// after the change: m is filed by what its row says now.
func (fx *effects) write(m *machine, now time.Time) {
	m.wrote = now
	m.file(now)
	if !fx.has[m] {
		if fx.has == nil {
			fx.has = map[*machine]bool{}
		}
		fx.has[m] = true
		fx.rows = append(fx.rows, m)
	}
}

func (fx *effects) tell(m *machine, now time.Time, w *schemas.BackupLeased) {
	m.told = now
	fx.then = append(fx.then, w)
}
