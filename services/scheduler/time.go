package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// begin follows a recall: slots are recounted, every machine is filed, every word
// that stands in a row is said again, and an attempt whose deadline passed while
// nobody watched gets one window of grace.
func (s *state) begin(now time.Time, fx *effects) {
	s.plans.changed = true
	for _, src := range s.sources {
		src.recount()
		src.recallBrake()
	}
	all := s.sorted(everyone)
	for _, m := range all {
		m.wrote = now
		if o := m.row.GetOpen(); o != nil {
			m.deadline = schemas.MilliTime(o.GetDeadlineMs())
			if grace := now.Add(s.limits.Silence); m.deadline.Before(grace) {
				m.deadline = grace
			}
		}
		m.file(now)
	}
	for _, src := range s.sources {
		src.look(now)
	}
	for _, m := range all {
		for _, q := range m.row.GetPending() {
			fx.tell(m, now, queuedWord(q, s.waiting(m, q, now)))
		}
		if o := m.row.GetOpen(); o != nil {
			fx.tell(m, now, openWord(o))
		}
	}
}

// tick does what only time brings: deadlines, orders grown old, attempts due
// again, words said again to an exporter or auditor that stays silent, and how
// far those are that wait. It looks at machines whose alarm rings, and no others.
func (s *state) tick(now time.Time, fx *effects) {
	for _, m := range s.ringing(now) {
		s.refuseOld(m, now, fx)
		o := m.row.GetOpen()
		switch {
		case o == nil, slotsWait(m):
		case o.GetState() == schemas.OpenRun_STATE_LEASED:
			s.watch(m, o, now, fx)
		case now.Sub(m.told) >= s.limits.Retell:
			fx.tell(m, now, openWord(o))
		}
		m.file(now)
	}
	s.duties(now, fx)
	for _, src := range s.sourcesSorted() {
		s.grant(src, now, fx)
		s.tellPositions(src, now, fx)
	}
}

// watch ends an attempt that is silent, and a backup that cannot be done.
func (s *state) watch(m *machine, o *schemas.OpenRun, now time.Time, fx *effects) {
	attempt := uint64(o.GetRun().GetAttempt())
	switch {
	case now.Sub(schemas.MilliTime(o.GetGrantedMs())) >= s.limits.Cap:
		// Another attempt would need as long, and an epoch cannot close while this one is open.
		s.attemptEnded(m, attempt, fmt.Sprintf("attempt %d was not done after %v", attempt, s.limits.Cap), true, now, fx)
	case !now.Before(m.deadline):
		s.attemptEnded(m, attempt, fmt.Sprintf("attempt %d made no progress for %v", attempt, s.limits.Silence), false, now, fx)
	}
}

// sourceFound takes a source's limits; nil: it is gone from the table.
func (s *state) sourceFound(name string, f *schemas.SourceFound) {
	src := s.source(name)
	src.found = f
	src.line.wakeAll()
}

// machineFound takes where a machine is; nil: it is gone from the table. Of one
// that is gone from its source the last place is kept: its snapshot may be there.
func (s *state) machineFound(key string, f *schemas.MachineFound) {
	s.placeFound(key, f)
	name, _, _ := strings.Cut(key, "\n")
	src := s.source(name)
	was := src.where[key].key
	if f == nil {
		delete(src.where, key)
	} else {
		src.where[key] = whereOf(f)
	}
	if m := s.machines[key]; m != nil && m.ticket != nil && src.where[key].key != was {
		m.ticket = src.line.move(m.ticket, src.where[key])
	}
}

// policyBound takes how many backups of a policy may run at once at each source; 0:
// as many as there are slots.
func (s *state) policyBound(policy string, atOnce uint32) {
	if atOnce == 0 {
		delete(s.atOnce, policy)
		return
	}
	s.atOnce[policy] = atOnce
}

// epochTurned takes a record of the epochs' order. Only opened ones are leased in.
func (s *state) epochTurned(t *schemas.EpochTurned) {
	if t.GetTurn() == schemas.EpochTurned_TURN_OPENED {
		s.epoch = max(s.epoch, t.GetEpoch())
	}
}

func (s *state) targetTurned(t *schemas.TargetTurned) { s.targets[t.GetTarget()] = t }

func (s *state) targetGone(name string) { delete(s.targets, name) }
