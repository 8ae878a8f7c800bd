package scheduler

import (
	"cmp"
	"slices"

	"github.com/holdfast-backup/holdfast/schemas"
)

// agedOneIn grants of a source, one goes to whoever has waited longest, whatever
// its priority, tenant or policy: so an order waits at most for this many grants
// for each that is older, and priorities still have seven eighths.
const agedOneIn = 8

// line is who could be leased at a source now. Each machine has one ticket. Those
// of one rank, tenant and policy are a flow; within it they sit on benches, one for
// each place. A place that lacks a slot is parked, with all its benches, until one
// is freed, so that to choose is to look at the first of each flow: flows are as
// many as ranks × tenants × policies, tens, whatever the number of machines.
type line struct {
	flows  []*flow // that are not empty, by rank, highest first
	places map[string]*place
	parked map[spot][]*place
	ages   queue[byAge]
	shares map[string]*share
	turn   uint64 // grants so far
	young  int    // grants since one went to who had waited longest
	heir   *ticket
}

// rank goes before all fairness: attempts that failed and are due again, since
// others wait for their end too; then the priority that was asked for.
type rank struct {
	again    bool
	priority int32
}

func (r rank) compare(o rank) int {
	switch {
	case r.again != o.again && r.again:
		return -1
	case r.again != o.again:
		return 1
	}
	return -cmp.Compare(r.priority, o.priority)
}

// share is what a tenant, or a policy of one, has of a source.
type share struct {
	open   uint64 // snapshot slots
	turn   uint64 // when it last got one
	policy string // empty: a tenant's, or what was asked for
}

// flow is what waits of one rank, tenant and policy. On-demand orders, of policy
// "", are a flow beside the scheduled ones.
type flow struct {
	rank
	tenant, policy string
	ofTenant       *share
	ofPolicy       *share
	heads          queue[*bench] // that are not parked
	size           int           // tickets, parked ones too
}

// bench is the tickets of one flow at one place.
type bench struct {
	flow    *flow
	place   *place
	tickets queue[*ticket]
	sits    int // in flow.heads
}

func (b *bench) seat() *int           { return &b.sits }
func (b *bench) before(o *bench) bool { return b.tickets.first().before(o.tickets.first()) }

// ticket is a machine that waits for a lease, and the order it is for.
type ticket struct {
	m         *machine
	order     *schemas.BackupQueued
	promiseMs int64 // when what was promised is broken
	bench     *bench
	sits, age int
	nth       int // in its flow, when last looked; 0: it came after that
	said      said
}

func (t *ticket) seat() *int { return &t.sits }

func (t *ticket) before(o *ticket) bool { return t.compare(o) < 0 }

// compare is the order within a flow, where all have one policy: by the moment at
// which lateness is one whole rpo, which for one rpo is the order of lateness/rpo,
// and does not change with time; then by age.
func (t *ticket) compare(o *ticket) int {
	return cmp.Or(cmp.Compare(t.promiseMs, o.promiseMs), t.older(o))
}

func (t *ticket) older(o *ticket) int {
	return cmp.Or(cmp.Compare(t.order.GetSinceMs(), o.order.GetSinceMs()), cmp.Compare(t.m.key, o.m.key))
}

// byAge is a ticket in the order of waiting alone.
type byAge struct{ *ticket }

func (t byAge) seat() *int          { return &t.age }
func (t byAge) before(o byAge) bool { return t.older(o.ticket) < 0 }

// promise is when an order's promise is broken: of a policy, one rpo after it was
// due; of what was asked for, at once.
func promise(q *schemas.BackupQueued) int64 {
	if q.GetDueMs() != 0 {
		return q.GetDueMs() + q.GetRpoMs()
	}
	return q.GetSinceMs()
}

// join takes a ticket for order q of m, which is at a place.
func (l *line) join(m *machine, q *schemas.BackupQueued, r rank, at where) *ticket {
	p := l.placeOf(at)
	t := &ticket{m: m, order: q, promiseMs: promise(q), bench: p.bench(l.flow(r, q)), sits: -1, age: -1}
	t.bench.tickets.put(t)
	t.bench.flow.size++
	l.ages.put(byAge{t})
	if p.parked == nil {
		t.bench.flow.heads.put(t.bench)
	}
	return t
}

// leave gives a ticket back.
func (l *line) leave(t *ticket) {
	b := t.bench
	b.tickets.drop(t)
	l.ages.drop(byAge{t})
	switch b.flow.size--; {
	case len(b.tickets.items) == 0:
		b.flow.heads.drop(b)
		l.unbench(b)
	case b.sits >= 0:
		b.flow.heads.put(b)
	}
	if b.flow.size == 0 {
		l.flows = slices.DeleteFunc(l.flows, func(f *flow) bool { return f == b.flow })
	}
	if l.heir == t {
		l.disown()
	}
}

// move takes a ticket to another place.
func (l *line) move(t *ticket, to where) *ticket {
	l.leave(t)
	moved := l.join(t.m, t.order, t.bench.flow.rank, to)
	moved.said = t.said
	return moved
}

// flow returns the flow of this rank that an order belongs to.
func (l *line) flow(r rank, q *schemas.BackupQueued) *flow {
	f := &flow{rank: r, tenant: q.GetTenant(), policy: q.GetPolicy()}
	at, found := slices.BinarySearchFunc(l.flows, f, func(a, b *flow) int {
		return cmp.Or(a.rank.compare(b.rank), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.policy, b.policy))
	})
	if found {
		return l.flows[at]
	}
	f.ofTenant, f.ofPolicy = l.sharesOf(q)
	l.flows = slices.Insert(l.flows, at, f)
	return f
}

// sharesOf are the tenant's share and the policy's that an order counts for.
func (l *line) sharesOf(q *schemas.BackupQueued) (tenant, policy *share) {
	of := func(key, policy string) *share {
		s := l.shares[key]
		if s == nil {
			s = &share{policy: policy}
			l.shares[key] = s
		}
		return s
	}
	return of(q.GetTenant(), ""), of(q.GetTenant()+"\n"+q.GetPolicy(), q.GetPolicy())
}

// ahead is the fair order of two flows of one rank: the tenant, and of one tenant
// the policy, that has fewest slots, and of two with as many, whose turn was longer
// ago. Slots and not turns come first, because a backup of ten hours is one turn.
func (f *flow) ahead(g *flow) bool {
	order := cmp.Or(cmp.Compare(f.ofTenant.open, g.ofTenant.open), cmp.Compare(f.ofTenant.turn, g.ofTenant.turn), cmp.Compare(f.tenant, g.tenant),
		cmp.Compare(f.ofPolicy.open, g.ofPolicy.open), cmp.Compare(f.ofPolicy.turn, g.ofPolicy.turn), cmp.Compare(f.policy, g.policy))
	return order < 0
}

// first is who is next among those whose place is not parked; nil: nobody is.
func (l *line) first(full func(*share) bool) *ticket {
	var best *flow
	for _, f := range l.flows {
		if best != nil && f.rank != best.rank {
			break
		}
		if len(f.heads.items) > 0 && !full(f.ofPolicy) && (best == nil || f.ahead(best)) {
			best = f
		}
	}
	if best == nil {
		return nil
	}
	return best.heads.first().tickets.first()
}

// granted counts a grant to t, which still sits.
func (l *line) granted(t *ticket) {
	l.turn++
	l.young++
	if l.ages.first().ticket == t {
		l.young = 0
	}
	t.bench.flow.ofTenant.turn, t.bench.flow.ofPolicy.turn = l.turn, l.turn
}
