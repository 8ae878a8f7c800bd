package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func policyEvent(name, data string) topics.Event {
	return topics.PoliciesDeclared.Event([]byte(name), fmt.Appendf(nil, `{"specversion":"1.0","id":"1","source":"/t","type":%q,"data":%s}`, schemas.TypePolicyDeclared, data), nil)
}

// takenOf is the last word on each policy in policies.taken.
func takenOf(b *stagetest.Bench) string {
	last := map[string]string{}
	for _, raw := range stagetest.ReadRaw(b, topics.PoliciesTaken.Spec) {
		d, _, err := policy.Taken(raw.Key, raw.Headers, raw.Value)
		if err != nil {
			b.T.Fatal(err)
		}
		last[d.Name] = fmt.Sprintf("%s %d %v", d.Name, d.RPOMinutes, d.Dropped)
	}
	return strings.Join(slices.Sorted(maps.Values(last)), ", ")
}

// Of each policy the last good word is taken over; false ones are refused and kept,
// with why; and words that are read again, or that lie in other partitions, because
// another client hashes otherwise, do not bring back what was dropped.
func TestPoliciesAreTaken(t *testing.T) {
	stagetest.Run(t, 0, Intake(Config{Vault: "eu-1"}), 2, func(b *stagetest.Bench) {
		const gold, silver = `{"name":"gold","machines":["a"],"rpoMinutes":%d}`, `{"name":"silver","machines":["a"],"rpoMinutes":60}`
		b.Send(policyEvent("gold", fmt.Sprintf(gold, 60)).To(0), policyEvent("silver", silver).To(1), policyEvent("bronze", strings.Replace(silver, "silver", "bronze", 1)).To(0))
		time.Sleep(time.Second)
		b.Send(policyEvent("gold", fmt.Sprintf(gold, 30)).To(1))
		time.Sleep(time.Second)
		b.Send(policyEvent("gold", `{"name":"gold","machines":["a"],"rpoMinute":10}`), policyEvent("gold", `{"name":"gold","machines":["a"],"rpoMinutes":5,"vault":"us-1"}`),
			policyEvent("iron", fmt.Sprintf(gold, 7)))
		b.Send(policyEvent("silver", `{"name":"silver","dropped":true}`).To(0), topics.PoliciesDeclared.Event([]byte("bronze"), nil, nil).To(1))
		m := b.Join(0)
		if !b.Settled() {
			b.Dump(20)
			t.Fatal("not settled")
		}
		const want = "bronze 0 true, gold 30 false, silver 0 true"
		if got := takenOf(b); got != want {
			t.Errorf("taken are %s, want %s", got, want)
		}
		var whys []string
		for _, raw := range stagetest.ReadRaw(b, topics.PoliciesDeclared.Refused()) {
			whys = append(whys, raw.Headers[topics.HeaderWhy])
		}
		slices.Sort(whys)
		if why := strings.Join(whys, "; "); why != `data.rpoMinute: is no field: did you mean "rpoMinutes"?; data.vault: "us-1" is none of this house, which has "eu-1"; `+
			`the record's key is "iron", and data.name "gold": what is kept of a policy is kept by the key, so send its name as that` {
			t.Errorf("refused: %s", why)
		}
		m.Leave()
		before := len(stagetest.ReadRaw(b, topics.PoliciesTaken.Spec))
		b.Rewind(topics.PoliciesDeclared.Spec)
		b.Join(0)
		b.Settled()
		if got := takenOf(b); got != want {
			t.Errorf("read again, taken are %s, want %s", got, want)
		}
		for _, raw := range stagetest.ReadRaw(b, topics.PoliciesTaken.Spec)[before:] {
			if d, _, err := policy.Taken(raw.Key, raw.Headers, raw.Value); err != nil || d.RPOMinutes == 60 {
				t.Errorf("an old word was taken again: %v, %v", d, err)
			}
		}
	})
}
