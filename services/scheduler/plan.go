package scheduler

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/schemas"
)

// policiesMax is how many policies may mean one machine: × 100 bytes, they are less
// than a twentieth of its row.
const policiesMax = 16

// plans are what policies make of a room's machines. Selectors are looked at when a
// machine or a policy changes, and never else; what is due is at the top of a heap.
type plans struct {
	vault    string // of the region; empty: any
	policies map[string]*plan
	sorted   []*plan                           // by name
	ended    map[string]string                 // by policy: why it is none of ours any more
	found    map[string]*schemas.MachineFound  // every machine of our sources, by key: what selectors ask for
	members  map[string]map[string]*membership // by machine and policy
	stale    []string                          // machines to be matched again, in order
	isStale  map[string]bool
	changed  bool // a policy is another: all machines are to be matched
	due      dueHeap
	counts   map[string]int // of dues since somebody looked, by what became of them
	notes    []string       // for the log, likewise
}

// plan is a policy and the machines of this room that it means.
type plan struct {
	*policy.Policy
	when    []byte
	members map[string]*membership // by machine
	held    bool                   // nothing of it is begun now
	jobs    map[int64]*tally       // by occasion
}

// tally is of a policy's machines that are due together, as far as this room knows.
type tally struct{ of, left uint32 }

// membership is a machine in a policy.
type membership struct {
	plan    *plan
	machine *machine
	row     *schemas.PolicyDue
	at      time.Time // when it is to be looked at next
	spot    int       // in the heap; -1: it is not there
	counted int64     // the occasion that it is counted for in plan.jobs; 0: none
}

func newPlans(vault string) plans {
	return plans{vault: vault, policies: map[string]*plan{}, ended: map[string]string{}, found: map[string]*schemas.MachineFound{},
		members: map[string]map[string]*membership{}, isStale: map[string]bool{}, counts: map[string]int{}}
}

// policyTaken takes the last good word on a policy. What cannot be understood, because
// a newer house took it, changes nothing.
func (s *state) policyTaken(d schemas.PolicyDeclared) {
	p := &s.plans
	old := p.policies[d.Name]
	why := ""
	switch {
	case d.Dropped:
		why = fmt.Sprintf("policy %q was dropped", d.Name)
	case d.Vault != "" && p.vault != "" && d.Vault != p.vault:
		why = fmt.Sprintf("policy %q is for vault %q now", d.Name, d.Vault)
	case old != nil && reflect.DeepEqual(old.PolicyDeclared, d):
		return
	}
	if why != "" {
		p.ended[d.Name] = why
		s.policyBound(d.Name, 0)
		delete(p.policies, d.Name)
	} else {
		compiled, err := policy.Compile(d)
		if err != nil {
			p.notes = append(p.notes, fmt.Sprintf("policy %q is not understood, and goes on as it was: %v", d.Name, err))
			return
		}
		delete(p.ended, d.Name)
		p.policies[d.Name] = &plan{Policy: compiled, when: compiled.When(), members: map[string]*membership{}, jobs: map[int64]*tally{}}
		s.policyBound(d.Name, d.Limits.AtOnce)
	}
	p.sorted = slices.SortedFunc(maps.Values(p.policies), func(a, b *plan) int { return cmp.Compare(a.Name, b.Name) })
	p.changed = true
}

// placeFound takes what selectors ask for of a machine; nil: it is gone.
func (s *state) placeFound(key string, f *schemas.MachineFound) {
	if f == nil || f.GetGone() {
		if _, was := s.plans.found[key]; !was {
			return
		}
		delete(s.plans.found, key)
		s.plans.mark(key)
		return
	}
	is := &schemas.MachineFound{Machine: f.GetMachine(), Folder: f.GetFolder(), Tags: f.GetTags(), Host: f.GetHost(), Cluster: f.GetCluster()}
	if was := s.plans.found[key]; was != nil && sameToSelectors(was, is) {
		return
	}
	s.plans.found[key] = is
	s.plans.mark(key)
}

func sameToSelectors(a, b *schemas.MachineFound) bool {
	return a.GetMachine().GetName() == b.GetMachine().GetName() && a.Folder == b.Folder && a.Host == b.Host && a.Cluster == b.Cluster && slices.Equal(a.Tags, b.Tags)
}

// allStale has every machine matched again: those that are found, and those that have
// a policy in their row.
func (s *state) allStale() {
	keys := map[string]bool{}
	for key := range s.plans.found {
		keys[key] = true
	}
	for key, m := range s.machines {
		if len(m.row.GetPolicies()) > 0 || slices.ContainsFunc(m.row.GetPending(), byPolicy) {
			keys[key] = true
		}
	}
	s.plans.changed = false
	sorted := slices.Sorted(maps.Keys(keys))
	for _, waits := range []bool{true, false} { // first those whose orders may be no longer right
		for _, key := range sorted {
			if m := s.machines[key]; waits == (m != nil && slices.ContainsFunc(m.row.GetPending(), byPolicy)) {
				s.plans.mark(key)
			}
		}
	}
}

func byPolicy(q *schemas.BackupQueued) bool { return q.GetPolicy() != "" }

func (p *plans) mark(key string) {
	if !p.isStale[key] {
		p.isStale[key] = true
		p.stale = append(p.stale, key)
	}
}

// meant are the policies that mean a machine, by name, the first policiesMax.
func (p *plans) meant(key string) (all []*plan) {
	f := p.found[key]
	if f == nil {
		return nil
	}
	for _, plan := range p.sorted {
		if plan.Selects(f) {
			all = append(all, plan)
		}
	}
	if over := len(all) - policiesMax; over > 0 {
		p.counts["over"] += over
		p.notes = append(p.notes, fmt.Sprintf("machine %s is meant by %d policies: the first %d by name count, and %q is the first that does not",
			name(f.GetMachine()), len(all), policiesMax, all[policiesMax].Name))
		all = all[:policiesMax]
	}
	return all
}

// whyNot says why a policy does not mean a machine any more.
func (p *plans) whyNot(policy, key string) string {
	switch {
	case p.ended[policy] != "":
		return p.ended[policy]
	case p.policies[policy] == nil:
		return fmt.Sprintf("policy %q is none any more", policy)
	case p.found[key] == nil:
		return "the machine is gone from its source"
	}
	return fmt.Sprintf("policy %q does not mean the machine any more", policy)
}

// sameTimes reports whether a row's due is still one of the policy.
func (p *plan) sameTimes(row *schemas.PolicyDue) bool { return bytes.Equal(row.GetWhen(), p.when) }
