package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// newFair is a source with so many slots and nothing else that is scarce.
func newFair(t *testing.T, slots uint32) *table {
	x := newTable(t)
	x.s.sourceFound("a", &schemas.SourceFound{SnapshotsMax: slots, ShareBytes: 1 << 40, WindowBytes: 1 << 20})
	return x
}

// over is all that the end of a completed backup brings, in one: who is leased then.
func (x *table) over(q *schemas.BackupQueued) []string {
	leased := x.leased(x.judge(q, schemas.Status_STATUS_COMPLETED))
	leased = append(leased, x.leased(x.export(q, snapshotRemoved))...)
	return append(leased, x.leased(x.export(q, dirRemoved))...)
}

func (x *table) leased(said string) (machines []string) {
	for _, w := range strings.Split(said, "; ") {
		if f := strings.Fields(w); len(f) > 1 && f[0] == "leased" {
			machines = append(machines, f[1])
		}
	}
	return machines
}

// turnover ends backups, oldest first, until n were leased, and counts of whom.
func (x *table) turnover(open []*schemas.BackupQueued, of map[string]*schemas.BackupQueued, n int) map[string]int {
	counts := map[string]int{}
	for n > 0 {
		for _, m := range x.over(open[0]) {
			open = append(open, of[m])
			counts[of[m].GetTenant()+"/"+of[m].GetPolicy()]++
			n--
		}
		open = open[1:]
	}
	return counts
}

// A mass order starves no schedule, nor the other way, nor one tenant another:
// each tenant gets as many slots, and of a tenant's each policy, whoever came first.
func TestTenantsAndPoliciesShareFairly(t *testing.T) {
	x := newFair(t, 12)
	of := map[string]*schemas.BackupQueued{}
	var open []*schemas.BackupQueued
	order := func(n int, tenant, policy string) {
		for range n {
			i := len(of)
			q := policed(orderOf(i, fmt.Sprintf("m%03d", i)), tenant, policy)
			of[q.GetMachine().GetId()] = q
			for range x.leased(x.order(q)) {
				open = append(open, q)
			}
		}
	}
	order(200, "", "")
	order(100, "", "gold")
	order(100, "", "silver")
	order(100, "b", "gold")
	x.turnover(open[:12], of, 24) // until nobody has more than is fair
	open = nil
	for _, m := range x.s.sorted(everyone) {
		if m.row.GetOpen() != nil {
			open = append(open, m.row.GetOpen().GetOrder())
		}
	}
	got := x.turnover(open, of, 120)
	for whose, want := range map[string]int{"/": 20, "/gold": 20, "/silver": 20, "b/gold": 60} {
		if n := got[whose]; n < want-1 || n > want+1 { // now and then who waited longest is of the mass order
			t.Errorf("of 120 leased %d are of %q, and %d would be fair: %v", n, whose, want, got)
		}
	}
}

// Within a policy goes first what breaks its promise first, whoever came first.
func TestWithinAPolicyTheLatestGoesFirst(t *testing.T) {
	x := newFair(t, 1)
	x.order(orderOf(1, "first"))
	for i, dueAndRPO := range [][2]int64{{50, 100}, {10, 200}, {60, 80}, {49, 101}} {
		q := policed(orderOf(10+i, fmt.Sprint("m", i)), "", "gold")
		q.DueMs, q.RpoMs = dueAndRPO[0], dueAndRPO[1]
		x.order(q)
	}
	var order []string
	last := orderOf(1, "first")
	for range 4 {
		next := x.over(last)
		order = append(order, next...)
		last = x.s.machine(&schemas.Machine{Source: "a", Id: next[0]}).row.GetOpen().GetOrder()
	}
	if got := fmt.Sprint(order); got != "[m2 m0 m3 m1]" {
		t.Errorf("leased in the order %v", got)
	}
}

// Attempts that failed and are due again go before all priorities.
func TestAgainGoesFirst(t *testing.T) {
	x := newFair(t, 1)
	again, keen := orderOf(1, "again"), orderOf(2, "keen")
	keen.Options.Priority = 9
	x.order(again)
	x.export(again, lost)
	x.export(again, snapshotRemoved)
	x.export(again, dirRemoved)
	x.order(orderOf(3, "now"))
	x.order(keen)
	x.tick(backoffMin)
	x.want(strings.Join(x.over(orderOf(3, "now")), " "), "again")
}

// Goal: no order waits for ever, whatever of a higher priority, of other tenants and
// policies, comes after it. Method: random orders and ends; of an order with n older
// ones before it at most 8 × (n+1) are leased first, and no more are leased by age
// than one in eight while somebody has a higher priority.
func TestAgeBringsEveryoneToALease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newFair(nil, uint32(rapid.IntRange(1, 4).Draw(t, "slots")))
		grants, outranked := 0, 0
		older := map[string]int{} // orders that waited when it came
		came := map[string]int{}  // grants until then
		var open []*schemas.BackupQueued
		hear := func(said string) {
			for _, id := range x.leased(said) {
				m := x.s.machine(&schemas.Machine{Source: "a", Id: id})
				open = append(open, m.row.GetOpen().GetOrder())
				if most := agedOneIn * (older[id] + 1); grants-came[id] > most {
					t.Fatalf("%s was leased after %d others, at most %d: %d were older", id, grants-came[id], most, older[id])
				}
				delete(older, id)
				grants++
				if next := x.s.source("a").line.flows; len(next) > 0 && next[0].priority > m.row.GetOpen().GetOrder().GetOptions().GetPriority() {
					outranked++
				}
			}
		}
		for n := range rapid.IntRange(30, 300).Draw(t, "orders") {
			q := policed(orderOf(n, fmt.Sprint("m", n)), rapid.SampledFrom([]string{"", "t"}).Draw(t, "tenant"), rapid.SampledFrom([]string{"", "gold", "iron"}).Draw(t, "policy"))
			q.Options.Priority = int32(rapid.IntRange(-2, 2).Draw(t, "priority"))
			older[q.GetMachine().GetId()], came[q.GetMachine().GetId()] = len(older), grants
			hear(x.order(q))
			for len(open) > 0 && rapid.IntRange(0, 9).Draw(t, "end") > 5 {
				q := open[0]
				open = open[1:]
				hear(x.judge(q, schemas.Status_STATUS_COMPLETED))
				hear(x.export(q, snapshotRemoved))
				hear(x.export(q, dirRemoved))
			}
		}
		if outranked > grants/agedOneIn+1 {
			t.Fatalf("%d of %d leases went before a higher priority", outranked, grants)
		}
	})
}

// A policy has no more backups at a source than it may; others go meanwhile.
func TestAPolicyHasItsOwnLimit(t *testing.T) {
	x := newFair(t, 9)
	x.s.policyBound("gold", 2)
	for i := range 2 {
		x.want(x.order(policed(orderOf(i, fmt.Sprint("m", i)), "", "gold")), fmt.Sprintf("queued m%d 0; leased m%d 1", i, i))
	}
	x.want(x.order(policed(orderOf(2, "m2"), "t", "gold")), `queued m2 0: position 1 of 1 at source a; a turn of policy "gold": 2 of 2 of its backups run at source a`)
	x.want(x.order(orderOf(3, "m3")), "queued m3 0; leased m3 1")
	x.want(strings.Join(x.over(policed(orderOf(0, "m0"), "", "gold")), " "), "m2")
	x.order(policed(orderOf(4, "m4"), "", "gold"))
	x.s.policyBound("gold", 0)
	x.want(x.tick(time.Second), "leased m4 1")
}
