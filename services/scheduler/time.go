package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// begin follows a recall: slots are recounted, every word that stands in a row
// is said again, and an attempt whose deadline passed while nobody watched gets
// one window of grace.
func (s *state) begin(now time.Time, fx *effects) {
	s.plans.changed = true
	for _, src := range s.sources {
		src.recount()
	}
	for _, m := range s.sorted() {
		m.wrote = now
		for _, q := range m.row.GetPending() {
			fx.tell(m, now, queuedWord(q, s.waiting(m, q, now)))
		}
		o := m.row.GetOpen()
		if o == nil {
			continue
		}
		m.deadline = schemas.MilliTime(o.GetDeadlineMs())
		if grace := now.Add(s.limits.Silence); m.deadline.Before(grace) {
			m.deadline = grace
		}
		fx.tell(m, now, openWord(o))
	}
}

// tick does what only time brings: deadlines, orders grown old, attempts due
// again, and words said again to an exporter or auditor that stays silent.
func (s *state) tick(now time.Time, fx *effects) {
	for _, m := range s.sorted() {
		s.refuseOld(m, now, fx)
		o := m.row.GetOpen()
		if o == nil {
			continue
		}
		switch {
		case o.GetState() == schemas.OpenRun_STATE_LEASED:
			s.watch(m, o, now, fx)
		case o.GetState() == schemas.OpenRun_STATE_BACKOFF && slotsFree(o):
		case now.Sub(m.told) >= s.limits.Retell:
			fx.tell(m, now, openWord(o))
		}
	}
	s.duties(now, fx)
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		s.grant(s.sources[name], now, fx)
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
func (s *state) sourceFound(name string, f *schemas.SourceFound) { s.source(name).found = f }

// machineFound takes where a machine is; nil: it is gone from the table. Of one
// that is gone from its source the last place is kept: its snapshot may be there.
func (s *state) machineFound(key string, f *schemas.MachineFound) {
	s.placeFound(key, f)
	name, _, _ := strings.Cut(key, "\n")
	if f == nil {
		delete(s.source(name).where, key)
		return
	}
	s.source(name).where[key] = whereOf(f)
}

// epochTurned takes a record of the epochs' order. Only opened ones are leased in.
func (s *state) epochTurned(t *schemas.EpochTurned) {
	if t.GetTurn() == schemas.EpochTurned_TURN_OPENED {
		s.epoch = max(s.epoch, t.GetEpoch())
	}
}

func (s *state) targetTurned(t *schemas.TargetTurned) { s.targets[t.GetTarget()] = t }

func (s *state) targetGone(name string) { delete(s.targets, name) }
