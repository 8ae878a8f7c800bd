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
