package scheduler

import (
	"cmp"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/match"
)

// resolved is what a request means: machines to back up, names that are none, each
// with why, and names that other regions know than the one it is for.
type resolved struct {
	machines []named
	unknown  []unknown
	others   map[string]int // by region
	in       []*region      // that may be meant
	asked    []match.Selector
}

type unknown struct{ name, why string }

// nearMax is for how many unknown names of one request similar ones are sought: each
// is held against every name there is, 5 ms of 10,000, and a list of another house may
// have 10,000.
const nearMax = 64

// resolve finds the machines of a request, each once, in the order of their keys.
func (v *inventory) resolve(r *request) resolved {
	found := map[string]named{}
	out := resolved{asked: r.selectors, others: map[string]int{}, in: v.sorted(r.region)}
	said := map[string]bool{}
	for _, name := range r.machines {
		if said[name] {
			continue
		}
		said[name] = true
		ms := v.named(name, out.in)
		switch {
		case len(ms) == 1:
			found[machineKey(ms[0].machine)] = ms[0]
		case len(ms) > 1:
			out.unknown = append(out.unknown, unknown{name, v.whyAmbiguous(name, ms)})
		default:
			if other := v.named(name, v.sorted("")); len(other) > 0 {
				out.others[other[0].region]++
				continue
			}
			out.unknown = append(out.unknown, unknown{name, whyUnknown(name, out.in, len(out.unknown) < nearMax)})
		}
	}
	out.choose(v, r, found)
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out.machines = append(out.machines, found[key])
	}
	return out
}

// choose adds what selectors match. A source that two regions call their own is
// neither's, and a region that can't be read is told: each is a refusal of its own,
// and the rest runs.
func (r *resolved) choose(v *inventory, of *request, found map[string]named) {
	if len(of.selectors) == 0 {
		return
	}
	contested := map[string]bool{}
	for _, g := range r.in {
		if !g.read {
			r.unknown = append(r.unknown, unknown{"region " + g.name, g.lacks()})
		}
		for key, m := range g.machines {
			if !slices.ContainsFunc(of.selectors, func(s match.Selector) bool { return s.Matches(m) }) {
				continue
			}
			if source := m.GetMachine().GetSource(); len(r.in) > 1 && len(v.owners(source)) > 1 {
				contested[source] = true
				continue
			}
			found[key] = named{g.name, m.GetMachine()}
		}
	}
	for _, source := range slices.Sorted(maps.Keys(contested)) {
		r.unknown = append(r.unknown, unknown{"source " + source, v.whyContested(source)})
	}
	slices.SortStableFunc(r.unknown, func(a, b unknown) int { return cmp.Compare(a.name, b.name) })
}
