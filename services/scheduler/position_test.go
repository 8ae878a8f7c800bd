package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Who waits hears how far it is when that is news, and never twice in a minute.
func TestPositionsAreToldAsTheyFall(t *testing.T) {
	x := newFair(t, 1)
	var all []*schemas.BackupQueued
	for i := range 41 {
		q := orderOf(i, fmt.Sprintf("m%02d", i))
		all = append(all, q)
		x.order(q)
	}
	heard := map[string][]string{}
	hear := func(said string) {
		words := 0
		for _, w := range strings.Split(said, "; queued ") {
			if f := strings.Fields(strings.TrimPrefix(w, "queued ")); len(f) > 5 && f[2] == "position" {
				heard[f[0]] = append(heard[f[0]], f[3]+"/"+f[5])
				words++
			}
		}
		if words > tellMost {
			t.Errorf("%d words in one tick", words)
		}
	}
	for _, q := range all[:20] {
		x.over(q)
		for range 6 {
			hear(x.tick(10 * time.Second))
		}
	}
	if got := fmt.Sprint(heard["m40"]); got != "[30/30 22/22]" { // it was told 40 at first
		t.Errorf("the last heard %v", got)
	}
	if got := fmt.Sprint(heard["m05"]); got != "[3/38 2/37 1/36]" { // it was told 5 at first
		t.Errorf("the fifth heard %v", got)
	}
	x.over(all[20])
	if said := x.tick(time.Second) + x.tick(8*time.Second); said != "" {
		t.Errorf("less than a minute after the last look: %s", said)
	}
}

// The place in line is as the fair order will have it: nearer than 1000 of a mass
// order, behind what has a higher priority.
func TestAPositionKnowsWhatIsFair(t *testing.T) {
	x := newFair(t, 1)
	n := 0
	order := func(of int, tenant, policy string, priority int32) string {
		said := ""
		for range of {
			n++
			q := policed(orderOf(n, fmt.Sprint("m", n)), tenant, policy)
			q.Options.Priority = priority
			said = x.order(q)
		}
		at := strings.Index(said, "position")
		return said[at : at+strings.Index(said[at:], " at ")]
	}
	order(1001, "", "", 0)
	x.want(order(3, "", "gold", 0), "position 6 of 1003")    // each before it lets one of the mass order by
	x.want(order(2, "b", "", 0), "position 4 of 1005")       // and here two of the other tenant
	x.want(order(1, "", "", 5), "position 1 of 1006")        // before all
	x.want(order(1, "b", "silver", 0), "position 5 of 1007") // two of b's other policy do not come into its turn but one
	x.want(order(1, "", "", -1), "position 1008 of 1008")    // behind all
	x.want(order(1, "", "", 0), "position 1008 of 1009")     // of those in the middle the last
	x.want(order(1, "c", "gold", 0), "position 4 of 1010")   // one of each tenant's before it
}
