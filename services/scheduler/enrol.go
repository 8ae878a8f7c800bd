package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// A beat's work on policies is bounded, so that who declares one over 20,000 machines
// stops nobody: all of them are matched after 4 s, and in their policy after 20.
const (
	matchesMax = 5000 // × 20 policies × 0.3 µs = 30 ms
	rowsMax    = 1000 // × 2 KiB
)

// matchStale has machines that changed, or whose policies did, matched again.
func (s *state) matchStale(now time.Time, fx *effects) {
	p := &s.plans
	n := 0
	for n < min(len(p.stale), matchesMax) && len(fx.rows) < rowsMax {
		delete(p.isStale, p.stale[n])
		s.match(p.stale[n], now, fx)
		n++
	}
	p.stale = slices.Delete(p.stale, 0, n)
}

// match brings a machine out of the policies that do not mean it any more, and into
// those that do.
func (s *state) match(key string, now time.Time, fx *effects) {
	meant := s.plans.meant(key)
	m := s.machines[key]
	if m == nil {
		if len(meant) == 0 {
			return
		}
		m = s.machine(s.plans.found[key].GetMachine())
	}
	is := func(policy string) bool {
		return slices.ContainsFunc(meant, func(p *plan) bool { return p.Name == policy })
	}
	for _, q := range slices.Clone(m.row.GetPending()) {
		if q.GetPolicy() != "" && !is(q.GetPolicy()) {
			s.withdrawOrder(m, q, s.plans.whyNot(q.GetPolicy(), key), now, fx)
		}
	}
	for name, ms := range s.plans.members[key] {
		if !is(name) || s.plans.policies[name] != ms.plan {
			s.part(ms)
		}
	}
	if rows := slices.DeleteFunc(m.row.GetPolicies(), func(r *schemas.PolicyDue) bool { return !is(r.GetPolicy()) }); len(rows) < len(m.row.GetPolicies()) {
		m.row.Policies = rows
		fx.write(m, now)
	}
	for _, p := range meant {
		s.join(m, p, now, fx)
	}
}

// join has a machine in a policy, and when it is due stand in its row: else a crash
// before the first due would begin to count anew, and leave it out.
func (s *state) join(m *machine, p *plan, now time.Time, fx *effects) {
	i := slices.IndexFunc(m.row.GetPolicies(), func(r *schemas.PolicyDue) bool { return r.GetPolicy() == p.Name })
	switch {
	case i < 0:
		m.row.Policies = append(m.row.GetPolicies(), &schemas.PolicyDue{Policy: p.Name, DueMs: s.firstDue(m, p, now), When: p.when})
		slices.SortFunc(m.row.Policies, func(a, b *schemas.PolicyDue) int { return cmp.Compare(a.GetPolicy(), b.GetPolicy()) })
		i = slices.IndexFunc(m.row.GetPolicies(), func(r *schemas.PolicyDue) bool { return r.GetPolicy() == p.Name })
		fx.write(m, now)
	case !p.sameTimes(m.row.GetPolicies()[i]):
		for _, q := range slices.Clone(m.row.GetPending()) {
			if q.GetPolicy() == p.Name {
				s.withdrawOrder(m, q, fmt.Sprintf("policy %q was changed: it has other times", p.Name), now, fx)
			}
		}
		m.row.Policies[i] = &schemas.PolicyDue{Policy: p.Name, DueMs: s.firstDue(m, p, now), When: p.when}
		fx.write(m, now)
	default:
		s.refresh(m, p, now, fx)
	}
	row := m.row.GetPolicies()[i]
	ms := p.members[m.key]
	switch {
	case ms == nil:
		ms = &membership{plan: p, machine: m, row: row, spot: -1}
		p.members[m.key] = ms
		if s.plans.members[m.key] == nil {
			s.plans.members[m.key] = map[string]*membership{}
		}
		s.plans.members[m.key][p.Name] = ms
	case ms.row == row:
		return // it is armed, or waits in a queue
	default:
		ms.row = row
	}
	s.passOver(ms, now) // all of them now, so that their job knows of how many it is
	s.arm(ms, now)
	if p.held {
		s.park(ms, now, fx)
	}
}

// firstDue is when a machine that comes into a policy is due: by a calendar when that
// comes next, by an RPO when its last point is too old, which one that is not there is.
func (s *state) firstDue(m *machine, p *plan, now time.Time) int64 {
	rpo := p.RPO()
	switch {
	case rpo == 0:
		return milli(p.Next(now))
	case m.row.GetPointMs() == 0:
		return milli(now)
	}
	return m.row.GetPointMs() + rpo.Milliseconds()
}

// milli is the inverse of schemas.MilliTime.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// refresh gives orders that wait what the policy says now of how they are done.
func (s *state) refresh(m *machine, p *plan, now time.Time, fx *effects) {
	for i, q := range m.row.GetPending() {
		if q.GetPolicy() != p.Name {
			continue
		}
		fresh := proto.CloneOf(q)
		fresh.Options, fresh.Tenant = p.Options(p.Expires(schemas.MilliTime(q.GetDueMs()))), p.Tenant
		if !proto.Equal(fresh, q) {
			m.row.Pending[i] = fresh
			fx.write(m, now)
		}
	}
}

// part takes a machine out of a policy, as far as memory goes.
func (s *state) part(ms *membership) {
	s.plans.due.disarm(ms)
	ms.plan.uncount(ms)
	delete(ms.plan.members, ms.machine.key)
	delete(s.plans.members[ms.machine.key], ms.plan.Name)
	if len(s.plans.members[ms.machine.key]) == 0 {
		delete(s.plans.members, ms.machine.key)
	}
	ms.row = nil
}

// withdrawOrder ends an order that waits. What is begun is not touched: it is a good
// point for whoever comes after.
func (s *state) withdrawOrder(m *machine, q *schemas.BackupQueued, why string, now time.Time, fx *effects) {
	w := cancelledWord(q)
	w.Reason = why
	fx.first = append(fx.first, w)
	m.drop(m.pendingAt(q.GetBackup()))
	s.plans.counts[dueEnded]++
	fx.write(m, now)
}

// count notes that ms is one of those that are due on an occasion.
func (p *plan) count(ms *membership, occasion int64) {
	if ms.counted == occasion {
		return
	}
	p.uncount(ms)
	t := p.jobs[occasion]
	if t == nil {
		t = &tally{}
		p.jobs[occasion] = t
	}
	t.of++
	t.left++
	ms.counted = occasion
}

// uncount takes it back.
func (p *plan) uncount(ms *membership) {
	if t := p.jobs[ms.counted]; t != nil && ms.counted != 0 {
		t.of--
	}
	p.told(ms)
}

// told notes that what came of ms on its occasion is told, and returns of how many
// it is one.
func (p *plan) told(ms *membership) (of uint32) {
	t := p.jobs[ms.counted]
	if t == nil || ms.counted == 0 {
		return 1
	}
	if t.left--; t.left == 0 {
		delete(p.jobs, ms.counted)
	}
	ms.counted = 0
	return t.of
}
