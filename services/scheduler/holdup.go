package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// holdUp takes orders back whose policy has a blackout that begins before the next
// beat: an order that waits is begun as soon as there are slots, and nothing else would
// stop it. It is due as it was, and ordered again when the blackout is over.
func (s *state) holdUp(now time.Time, fx *effects) {
	for _, p := range s.plans.sorted {
		was := p.held
		if p.held = !p.Held(now.Add(beat)).IsZero(); !p.held || was {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(p.members)) {
			s.park(p.members[key], now, fx)
		}
	}
}

// park takes back a membership's order that waits. The backup keeps its id, and so
// nobody is told of an end: it still waits.
func (s *state) park(ms *membership, now time.Time, fx *effects) {
	m := ms.machine
	for _, q := range slices.Clone(m.row.GetPending()) {
		if q.GetPolicy() != ms.plan.Name {
			continue
		}
		m.row.Pending = slices.DeleteFunc(m.row.GetPending(), func(o *schemas.BackupQueued) bool { return sameBackup(o, q) })
		ms.row.DueMs = q.GetDueMs()
		s.plans.counts[dueHeld]++
		fx.write(m, now)
		s.arm(ms, now)
	}
}

// atOnce counts the backups of a policy that are under way at a source.
func (s *state) atOnce(p *plan, src *source) (n int) {
	if p.Limits.AtOnce == 0 {
		return 0
	}
	for _, ms := range p.members {
		if ms.machine.source == src && ms.machine.underWay(p.Name) != nil {
			n++
		}
	}
	return n
}

// release orders what waits for others of its policy, first come first.
func (s *state) release(now time.Time, fx *effects) {
	for _, p := range s.plans.sorted {
		for _, source := range slices.Sorted(maps.Keys(p.queues)) {
			s.releaseAt(p, source, now, fx)
		}
	}
}

func (s *state) releaseAt(p *plan, source string, now time.Time, fx *effects) {
	queue := p.queues[source]
	for n := s.atOnce(p, s.source(source)); len(queue) > 0 && n < p.AtOnce() && len(fx.rows) < rowsMax; queue = queue[1:] {
		ms := queue[0]
		switch {
		case p.members[ms.machine.key] != ms || ms.spot >= 0: // it left meanwhile, or is armed again
			continue
		case p.held:
			s.arm(ms, now.Add(beat))
			continue
		}
		s.order(ms, now, fx)
		n++
	}
	if p.queues[source] = queue; len(queue) == 0 {
		delete(p.queues, source)
	}
}
