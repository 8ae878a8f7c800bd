package scheduler

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	fleetSites = 4
	latency    = 200 * time.Millisecond // of each topic: so records of one machine keep their order
	sampleEach = 10 * time.Minute
)

// fleet is everything around one room of the scheduler.
type fleet struct {
	t      *testing.T
	rand   *rand.Rand
	began  time.Time
	now    time.Time
	days   int
	events events
	ids    uint64

	s       *state            // nil: it is dead
	rows    map[string][]byte // machines.tended, as acknowledged
	inbox   []proto.Message   // not done: what came while it was dead
	doomed  bool              // the next input is its last
	crashes int

	sites    []*site
	guests   []*guest
	byKey    map[string]*guest
	policies []*rule
	targets  *schemas.TargetTurned
	verdicts map[string]schemas.Status
	asked    map[string]*ask // backups
	tally    sums
}

// event is something that happens at a moment.
type event struct {
	at  time.Time
	no  uint64 // of two at one moment the first made is first
	run func()
}

type events struct {
	heap []event
	made uint64
}

func (e *events) Len() int { return len(e.heap) }
func (e *events) Less(i, j int) bool {
	a, b := &e.heap[i], &e.heap[j]
	if a.at.Equal(b.at) {
		return a.no < b.no
	}
	return a.at.Before(b.at)
}
func (e *events) Swap(i, j int) { e.heap[i], e.heap[j] = e.heap[j], e.heap[i] }
func (e *events) Push(x any)    { e.heap = append(e.heap, x.(event)) }
func (e *events) Pop() any {
	last := e.heap[len(e.heap)-1]
	e.heap = e.heap[:len(e.heap)-1]
	return last
}

func newFleet(t *testing.T, machines, days int, seed uint64) *fleet {
	f := &fleet{t: t, rand: rand.New(rand.NewPCG(seed, 20_000)), began: time.UnixMilli(1_800_057_600_000).UTC(), days: days,
		byKey: map[string]*guest{}, rows: map[string][]byte{}, verdicts: map[string]schemas.Status{}, asked: map[string]*ask{}, tally: sums{misses: map[string]int{}, waits: map[string][]time.Duration{}}}
	f.now = f.began // a midnight
	f.policies = rulesOf()
	f.build(machines)
	f.targets = &schemas.TargetTurned{Target: "t1", SinceMs: f.now.UnixMilli(), Up: true, Quorum: true}
	f.rise()
	return f
}

// after makes something happen.
func (f *fleet) after(d time.Duration, run func()) {
	f.events.made++
	heap.Push(&f.events, event{f.now.Add(d), f.events.made, run})
}

// each makes something happen again and again until the week is over.
func (f *fleet) each(d time.Duration, run func()) {
	f.after(d, func() {
		if f.now.Before(f.end()) {
			run()
			f.each(d, run)
		}
	})
}

func (f *fleet) end() time.Time { return f.began.Add(time.Duration(f.days) * 24 * time.Hour) }

// run lets the days pass, and then what is under way come to its end.
func (f *fleet) run() {
	f.weather()
	for _, g := range f.guests {
		f.dueAt(g, f.began)
	}
	var tick func()
	tick = func() {
		f.input(func(fx *effects) { f.s.tick(f.now, fx) })
		if f.now.Sub(f.tally.sampled) >= sampleEach { // here, where nobody waits for the next beat
			f.sample()
		}
		if f.now.Before(f.end()) || len(f.verdicts) < len(f.asked) || f.open() > 0 {
			f.after(time.Second, tick)
		}
	}
	f.after(time.Second, tick)
	for f.events.Len() > 0 && f.now.Before(f.end().Add(4*24*time.Hour)) {
		e := heap.Pop(&f.events).(event)
		f.now = e.at
		e.run()
	}
	f.rest()
}

// tell brings a record to the scheduler, or to where it waits for one.
func (f *fleet) tell(m proto.Message) {
	f.after(latency, func() {
		f.inbox = append(f.inbox, m)
		f.read()
	})
}

// read takes what waits; a record that the scheduler died of comes again.
func (f *fleet) read() {
	for f.s != nil && len(f.inbox) > 0 {
		m := f.inbox[0]
		if !f.input(func(fx *effects) {
			switch m := m.(type) {
			case *schemas.BackupQueued:
				if err := f.s.ordered(proto.CloneOf(m), f.now, fx); err != nil {
					f.t.Fatal(err)
				}
			case *schemas.ExportEnded:
				f.s.exported(m, f.now, fx)
			case *schemas.BackupJudged:
				f.s.judged(m, f.now, fx)
			}
		}) {
			return
		}
		f.inbox = f.inbox[1:]
	}
}

// input runs one input and carries its effects out; one that is doomed dies after
// a part of them. It reports whether all was done.
func (f *fleet) input(in func(*effects)) bool {
	if f.s == nil {
		return false
	}
	var fx effects
	in(&fx)
	first, rows, then := len(fx.first), len(fx.rows), len(fx.then)
	died := f.doomed && first+rows+then > 0
	if died { // a prefix is out: words, then rows, then words
		cut := f.rand.IntN(first + rows + then)
		first = min(first, cut)
		rows = min(rows, cut-first)
		then = min(then, max(0, cut-len(fx.first)-len(fx.rows)))
	}
	for _, w := range fx.first[:first] {
		f.hear(proto.CloneOf(w))
	}
	for _, m := range fx.rows[:rows] {
		b, err := proto.Marshal(m.row)
		if err != nil {
			f.t.Fatal(err)
		}
		f.rows[m.key] = b
	}
	for _, w := range fx.then[:then] {
		f.hear(proto.CloneOf(w))
	}
	if died {
		f.die()
	}
	return !died
}

// die is a kill -9; somebody starts it again after a while.
func (f *fleet) die() {
	f.s, f.doomed = nil, false
	f.crashes++
	off := time.Duration(2+f.rand.IntN(20)) * time.Second
	if f.rand.IntN(4) == 0 {
		off = time.Duration(1+f.rand.IntN(30)) * time.Minute
	}
	f.after(off, func() {
		f.rise()
		f.read()
	})
}

// rise recalls a scheduler from what is in the tables.
func (f *fleet) rise() {
	f.s = newState(Default().Limits, func() (u schemas.UUID) {
		f.ids++
		binary.BigEndian.PutUint64(u[8:], f.ids)
		return u
	})
	for _, p := range f.policies {
		f.s.policyTaken(p.declared())
	}
	for _, at := range f.sites {
		f.s.sourceFound(at.name, at.limit)
	}
	for _, g := range f.guests {
		f.s.machineFound(g.key, g.found)
	}
	f.s.epochTurned(&schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED})
	f.s.targetTurned(f.targets)
	for _, b := range f.rows {
		row := &schemas.MachineTended{}
		if err := proto.Unmarshal(b, row); err != nil {
			f.t.Fatal(err)
		}
		f.s.recalled(row)
	}
	f.input(func(fx *effects) { f.s.begin(f.now, fx) })
}

// open are the slots taken, as the sources see it.
func (f *fleet) open() (n int) {
	for _, at := range f.sites {
		n += at.snapshots + at.dirs
	}
	return n
}
