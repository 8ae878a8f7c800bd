package scheduler

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/schemas"
)

// almanac is a room whose policies change, whose machines come and go, and which
// crashes at any effect; around it an exporter and an auditor who are quick and
// truthful. It knows when each machine came into each policy, and when anybody looked.
type almanac struct {
	t        *rapid.T
	now      time.Time
	s        *state
	rows     map[string][]byte
	policies map[string]schemas.PolicyDeclared
	machines map[string]*schemas.MachineFound
	told     []*schemas.BackupLeased
	heard    int
	verdicts map[string]schemas.Status
	leases   map[string]string // by backup and attempt
	stays    map[string]*stay  // by machine and policy: the present one
	past     []*stay
	beats    []look    // that were whole
	born     time.Time // the first beat of this scheduler; zero: it had none
	kind     bool      // no backup fails any more
	blind    bool      // it has not looked since it began, or since a policy changed
	ids      uint64
}

// look is a beat, and since when its scheduler looked.
type look struct{ at, since time.Time }

// stay is a time in which a machine was in a policy, under the same times.
type stay struct {
	key, policy string
	p           *policy.Policy
	from, to    time.Time // the beat that knew it first; when it ended, or zero
	late        bool      // a blackout or a limit may have had it pass dues over
}

func newAlmanac(t *rapid.T) *almanac {
	a := &almanac{t: t, now: time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC), rows: map[string][]byte{}, policies: map[string]schemas.PolicyDeclared{},
		machines: map[string]*schemas.MachineFound{}, verdicts: map[string]schemas.Status{}, leases: map[string]string{}, stays: map[string]*stay{}}
	a.restart()
	return a
}

func (a *almanac) restart() {
	a.s = newState(Default().Limits, func() (u schemas.UUID) { a.ids++; binary.BigEndian.PutUint64(u[8:], a.ids); return u })
	a.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: 2, ShareBytes: 4 << 30, WindowBytes: 1 << 30})
	a.s.epochTurned(&schemas.EpochTurned{Epoch: 1, Turn: schemas.EpochTurned_TURN_OPENED})
	for key, f := range a.machines {
		a.s.machineFound(key, f)
	}
	for _, d := range a.policies {
		a.s.policyTaken(d)
	}
	for _, b := range a.rows {
		row := &schemas.MachineTended{}
		if err := proto.Unmarshal(b, row); err != nil {
			panic(err)
		}
		a.s.recalled(row)
	}
	var fx effects
	a.s.begin(a.now, &fx)
	a.born, a.blind = time.Time{}, true
	a.tell(fx.then)
}

// apply runs one input; a crash may cut its effects off anywhere.
func (a *almanac) apply(crash bool, input func(*effects)) (whole bool) {
	var fx effects
	input(&fx)
	cut := len(fx.first) + len(fx.rows) + len(fx.then)
	if crash {
		cut = rapid.IntRange(0, cut).Draw(a.t, "effects that are left")
	}
	n := min(cut, len(fx.first))
	a.tell(fx.first[:n])
	for _, m := range fx.rows[:min(cut-n, len(fx.rows))] {
		b, err := proto.Marshal(m.row)
		if err != nil {
			panic(err)
		}
		a.rows[m.key] = b
		n++
	}
	if n == len(fx.first)+len(fx.rows) {
		a.tell(fx.then[:cut-n])
	}
	if crash {
		a.restart()
	}
	return !crash
}

func (a *almanac) tell(words []*schemas.BackupLeased) {
	for _, w := range words {
		w = proto.CloneOf(w)
		if w.GetVerb() == schemas.BackupLeased_VERB_LEASED {
			at := fmt.Sprint(w.GetRun().GetBackup(), w.GetRun().GetAttempt())
			if old, ok := a.leases[at]; ok && old != string(w.GetRun().GetLease()) {
				a.t.Fatalf("attempt %d of backup %s of policy %q was begun twice", w.GetRun().GetAttempt(), schemas.IDText(w.GetRun().GetBackup()), w.GetPolicy())
			}
			_, again := a.leases[at]
			a.leases[at] = string(w.GetRun().GetLease())
			if p, ok := a.policies[w.GetPolicy()]; ok && len(p.Blackout) > 0 && !again && !a.blind && w.GetRun().GetAttempt() == 1 {
				if c, err := policy.Compile(p); err != nil || !c.Held(a.now).IsZero() {
					a.t.Fatalf("begun at %s, in a blackout of %q: %v", a.now, w.GetPolicy(), err)
				}
			}
		}
		a.told = append(a.told, w)
	}
}

// beat lets some time pass, and looks.
func (a *almanac) beat(d time.Duration, crash bool) {
	a.now, a.blind = a.now.Add(d), false
	whole := a.apply(crash, func(fx *effects) { a.s.tick(a.now, fx) })
	if whole {
		if a.born.IsZero() {
			a.born = a.now
		}
		a.beats = append(a.beats, look{a.now, a.born})
	}
	a.enter(whole)
}

// hear has exporter and auditor answer all that was told.
func (a *almanac) hear() {
	for ; a.heard < len(a.told); a.heard++ {
		w := a.told[a.heard]
		id := string(w.GetRun().GetBackup())
		status := w.GetStatus()
		switch w.GetVerb() {
		case schemas.BackupLeased_VERB_QUEUED:
			continue
		case schemas.BackupLeased_VERB_LEASED:
			if status = schemas.Status_STATUS_COMPLETED; a.kind {
				break
			}
			status = rapid.SampledFrom([]schemas.Status{schemas.Status_STATUS_COMPLETED, schemas.Status_STATUS_COMPLETED, schemas.Status_STATUS_FAILED}).Draw(a.t, "ends")
		}
		if a.verdicts[id] == 0 {
			a.verdicts[id] = status
		}
		if w.GetVerb() != schemas.BackupLeased_VERB_ENDED {
			a.apply(false, func(fx *effects) {
				a.s.judged(&schemas.BackupJudged{Run: w.GetRun(), Machine: w.GetMachine(), Word: &schemas.BackupJudged_Verdict{Verdict: &schemas.Verdict{
					Status: a.verdicts[id], SnapshotMs: a.now.UnixMilli(), Point: &schemas.Point{Path: "p"}}}}, a.now, fx)
			})
		}
		for _, word := range []schemas.ExportEnded_Word{snapshotRemoved, dirRemoved} {
			a.apply(false, func(fx *effects) {
				a.s.exported(&schemas.ExportEnded{Run: w.GetRun(), Machine: w.GetMachine(), Word: word}, a.now, fx)
			})
		}
	}
}

// enter notes who is in which policy from now on, if all of the beat was done, and who
// is no more, which may be so after half of it.
func (a *almanac) enter(whole bool) {
	is := map[string]*stay{}
	for key, f := range a.machines {
		for name, d := range a.policies {
			p, err := policy.Compile(d)
			if err != nil {
				a.t.Fatal(err)
			}
			if p.Selects(f) {
				is[key+"\n"+name] = &stay{key: key, policy: name, p: p, from: a.now}
			}
		}
	}
	for at, was := range a.stays {
		if now, ok := is[at]; !ok || string(now.p.When()) != string(was.p.When()) {
			was.to = a.now
			a.past = append(a.past, was)
			delete(a.stays, at)
		}
	}
	for at, now := range is {
		was := a.stays[at]
		if was == nil && whole {
			was = now
			a.stays[at] = was
		}
		if was != nil {
			was.late = was.late || len(now.p.Blackout) > 0 || now.p.Limits.AtOnce > 0
		}
	}
}

// leftOut holds all dues of calendars against what was told: each was ordered, or
// refused with a reason, or nobody looked from the end of its spread until the next.
func (a *almanac) leftOut() {
	told := map[string]bool{}
	for _, w := range a.told {
		told[string(w.GetRun().GetBackup())] = true
	}
	for _, st := range append(a.past, slices.Collect(maps.Values(a.stays))...) {
		if st.p.RPO() > 0 || st.late {
			continue
		}
		end := st.to
		if end.IsZero() {
			end = a.now
		}
		for due := st.p.Next(st.from); due.Before(end); due = st.p.Next(due) {
			id := schemas.DueID(st.policy, "a", st.key[2:], due.UnixMilli())
			if told[string(id[:])] {
				continue
			}
			spread, next := min(st.p.Promise(due)/2, 5*time.Minute), st.p.Next(due)
			for _, b := range a.beats {
				late := due.Add(spread)
				if b.since.After(due) { // who comes too late spreads them anew
					late = b.since.Add(spread)
				}
				if !b.at.Before(late) && b.at.Before(next) && b.at.Before(end) {
					a.t.Fatalf("machine %q is in policy %q since %s; what was due at %s was left out, and somebody looked at %s", st.key, st.policy, st.from, due, b.at)
				}
			}
		}
	}
}

// Goal: whatever changes, and wherever a scheduler dies, no due is begun twice, none is
// left out that anybody could have seen, nothing begins in a blackout, and an RPO is
// never forgotten. Method: policies of minutes to hours over the night in which clocks
// go back; then calm, in which each RPO must get its point.
func TestNoDueIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAlmanac(t)
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			switch key := fmt.Sprint("a\nm", rapid.IntRange(0, 3).Draw(t, "machine")); rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1:
				a.declare()
			case 2:
				a.machines[key] = &schemas.MachineFound{Machine: &schemas.Machine{Source: "a", Id: key[2:], Name: key[2:]},
					Tags: []string{rapid.SampledFrom([]string{"gold", "silver", "none"}).Draw(t, "tag")}}
				a.s.machineFound(key, a.machines[key])
			case 3:
				delete(a.machines, key)
				a.s.machineFound(key, nil)
			case 4: // off for a while
				a.now = a.now.Add(time.Duration(rapid.IntRange(1, 36_000).Draw(t, "seconds off")) * time.Second)
				a.restart()
			case 5:
				a.beat(time.Second, true)
			case 6:
				a.hear()
			default:
				for range rapid.IntRange(1, 30).Draw(t, "beats") {
					a.beat(time.Duration(rapid.SampledFrom([]int{1, 7, 60, 300}).Draw(t, "seconds"))*time.Second, rapid.IntRange(0, 30).Draw(t, "crash") == 0)
				}
			}
		}
		a.leftOut()
		a.calm()
	})
}

func (a *almanac) declare() {
	d := schemas.PolicyDeclared{Name: rapid.SampledFrom([]string{"p", "q", "r"}).Draw(a.t, "policy"), Zone: "Europe/Berlin"}
	if rapid.IntRange(0, 5).Draw(a.t, "drop") == 0 {
		delete(a.policies, d.Name)
		a.s.policyTaken(schemas.PolicyDeclared{Name: d.Name, Dropped: true})
		return
	}
	d.Selectors = []schemas.Selector{{Tag: rapid.SampledFrom([]string{"gold", "*", "silver"}).Draw(a.t, "tag")}}
	d.Priority = int32(rapid.IntRange(0, 2).Draw(a.t, "priority"))
	switch rapid.IntRange(0, 3).Draw(a.t, "times") {
	case 0:
		d.RPOMinutes = uint32(rapid.SampledFrom([]int{2, 30, 240}).Draw(a.t, "rpo"))
	default:
		d.Calendar = []schemas.PolicyTime{{Cron: rapid.SampledFrom([]string{"*/10 * * * *", "30 2 * * *", "0 * * * *", "15 1-4 * * *"}).Draw(a.t, "cron")}}
	}
	if rapid.IntRange(0, 3).Draw(a.t, "black") == 0 {
		d.Blackout = []schemas.PolicyBlackout{{From: "01:30", To: rapid.SampledFrom([]string{"02:40", "05:00"}).Draw(a.t, "to")}}
	}
	if rapid.Bool().Draw(a.t, "limited") {
		d.Limits.AtOnce = 1
	}
	a.policies[d.Name], a.blind = d, true
	a.s.policyTaken(d)
}

// calm lets half a day pass in which all backups succeed at once, and wants each RPO kept.
func (a *almanac) calm() {
	a.restart()
	a.kind = true
	for range 12 * 12 {
		a.beat(5*time.Minute, false)
		a.hear()
	}
	for _, st := range a.stays {
		row := &schemas.MachineTended{}
		if err := proto.Unmarshal(a.rows[st.key], row); err != nil {
			a.t.Fatal(err)
		}
		// Two beats, and the blackouts of a night.
		if rpo := st.p.RPO(); rpo > 0 && a.now.Sub(schemas.MilliTime(row.GetPointMs())) > rpo+10*time.Minute+210*time.Minute {
			a.t.Fatalf("the last point of %q is of %s, and policy %q wants one each %s: %v", st.key, schemas.MilliTime(row.GetPointMs()), st.policy, rpo, row)
		}
	}
	a.leftOut()
}
