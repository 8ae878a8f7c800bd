package scheduler

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// byAlarm is a machine in the order of when the clock has something for it.
type byAlarm struct{ *machine }

func (m byAlarm) seat() *int { return &m.alarmSeat }
func (m byAlarm) before(o byAlarm) bool {
	return cmp.Or(cmp.Compare(m.alarmMs, o.alarmMs), cmp.Compare(m.key, o.key)) < 0
}

// file puts m where its row says that it belongs now: in its source's line, if it
// could be leased, and on the clock, for what time will bring. Everything that
// changes a row does this, through write.
func (m *machine) file(now time.Time) {
	l := &m.source.line
	q, r := m.due(now)
	if t := m.ticket; t != nil && (q != t.order || r != t.bench.flow.rank) {
		l.leave(t)
		m.ticket = nil
	}
	if q != nil && m.ticket == nil {
		m.ticket = l.join(m, q, r, m.source.where[m.key])
	}
	m.setAlarm(now)
}

// setAlarm sets the clock. It may go off too early, since progress moves a deadline
// without a word here, and never too late.
func (m *machine) setAlarm(now time.Time) {
	alarms := &m.source.house.alarms
	m.alarmMs = m.wakeMs(now)
	if m.alarmMs == math.MaxInt64 {
		alarms.drop(byAlarm{m})
		return
	}
	alarms.put(byAlarm{m})
}

// wakeMs is when tick must look at m next.
func (m *machine) wakeMs(now time.Time) int64 {
	limits := m.source.house.limits
	at := int64(math.MaxInt64)
	for _, q := range m.row.GetPending() {
		if end := q.GetOptions().GetNotAfterMs(); end != 0 {
			at = min(at, end+1)
		}
	}
	o := m.row.GetOpen()
	switch {
	case o == nil:
	case o.GetState() == schemas.OpenRun_STATE_LEASED:
		at = min(at, m.deadline.UnixMilli(), schemas.MilliTime(o.GetGrantedMs()).Add(limits.Cap).UnixMilli())
	case slotsWait(m):
		if m.ticket == nil {
			at = min(at, o.GetNotBeforeMs())
		}
	default: // an answer is awaited; a word that goes out in this same input counts from now
		told := m.told
		if told.IsZero() {
			told = now
		}
		at = min(at, told.Add(limits.Retell).UnixMilli())
	}
	return at
}

// slotsWait reports whether m has nothing to wait for but its backoff and slots.
func slotsWait(m *machine) bool {
	o := m.row.GetOpen()
	return o.GetState() == schemas.OpenRun_STATE_BACKOFF && slotsFree(o)
}

// ringing takes the machines off the clock whose time has come.
func (s *state) ringing(now time.Time) (all []*machine) {
	for len(s.alarms.items) > 0 {
		m := s.alarms.first().machine
		if m.alarmMs > now.UnixMilli() {
			break
		}
		s.alarms.drop(byAlarm{m})
		all = append(all, m)
	}
	return all
}

// sourcesSorted returns the sources by name, in an order that no map decides.
func (s *state) sourcesSorted() []*source {
	all := make([]*source, 0, len(s.sources))
	for _, src := range s.sources {
		all = append(all, src)
	}
	slices.SortFunc(all, func(a, b *source) int { return cmp.Compare(a.name, b.name) })
	return all
}
