package scheduler

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// unsound says what of a state's lines and alarms is not as its rows say; empty: all
// is. A machine that is in no line is leased by nobody, and a place that is parked
// though there is a slot starves whoever waits there.
func (s *state) unsound(now time.Time) string {
	for _, m := range s.sorted(everyone) {
		q, r := m.due(now)
		rings := m.alarmSeat >= 0 && m.alarmMs <= now.UnixMilli() // then it is filed by the next tick
		switch t := m.ticket; {
		case t == nil && q != nil && !rings:
			return fmt.Sprintf("%q could be leased, and waits nowhere", m.key)
		case t != nil && (q != t.order || r != t.bench.flow.rank || t.bench.place.key != m.source.where[m.key].key):
			return fmt.Sprintf("%q waits for %v at %v, and should for %v at %v", m.key, t.order, t.bench.place, q, m.source.where[m.key])
		}
		if at := m.wakeMs(now); at < 1<<62 && (m.alarmSeat < 0 || m.alarmMs > at) {
			return fmt.Sprintf("%q must be looked at at %d, and its alarm is set to %d, seat %d", m.key, at, m.alarmMs, m.alarmSeat)
		}
	}
	for _, src := range s.sourcesSorted() {
		if why := src.line.unsound(src); why != "" {
			return why
		}
	}
	return ""
}

func (l *line) unsound(src *source) string {
	size := 0
	for _, f := range l.flows {
		size += f.size
		for _, b := range f.heads.items {
			if b.place.parked != nil {
				return fmt.Sprintf("%v is parked, and chosen from", b.place.where)
			}
		}
	}
	if size != len(l.ages.items) {
		return fmt.Sprintf("%d wait in flows, and %d by age", size, len(l.ages.items))
	}
	for _, p := range l.places {
		open := 0
		for _, b := range p.benches {
			if b.sits >= 0 {
				open++
			}
			size -= len(b.tickets.items)
		}
		switch {
		case p.parked == nil && open < len(p.benches):
			return fmt.Sprintf("%v is not parked, and not chosen from", p.where)
		case p.parked != nil && src.lacking(p.where, l.heir) == nil && !(l.heir != nil && l.heir.bench.place == p):
			return fmt.Sprintf("%v is parked for %v, and lacks nothing", p.where, *p.parked)
		}
	}
	if size != 0 {
		return fmt.Sprintf("%d wait in flows, and at no place", size)
	}
	return ""
}

// counted is what each tenant and policy has of a source a tenant and policy have of a source, by its rows.
func (s *source) counted() map[string]uint64 {
	n := map[string]uint64{}
	for _, m := range s.machines {
		if o := m.row.GetOpen(); o.GetSourceSlot() != 0 {
			n[o.GetOrder().GetTenant()]++
			n[o.GetOrder().GetTenant()+"\n"+o.GetOrder().GetPolicy()]++
		}
	}
	return n
}

// policed is an order of a policy.
func policed(q *schemas.BackupQueued, tenant, policy string) *schemas.BackupQueued {
	q.Tenant, q.Policy = tenant, policy
	return q
}
