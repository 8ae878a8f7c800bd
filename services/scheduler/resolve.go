package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/match"
	"github.com/holdfast-backup/holdfast/schemas"
)

// resolved is what a request means: machines to back up, and names that are
// none, each with why.
type resolved struct {
	machines []*schemas.Machine
	unknown  []unknown
	asked    []match.Selector
}

type unknown struct{ name, why string }

// resolve finds the machines of a request, each once, in the order of their keys.
func (v *inventory) resolve(r *request) resolved {
	found := map[string]*schemas.Machine{}
	out := resolved{asked: r.selectors}
	said := map[string]bool{}
	for _, name := range r.machines {
		if said[name] {
			continue
		}
		said[name] = true
		switch ms := v.named(name); len(ms) {
		case 0:
			out.unknown = append(out.unknown, unknown{name, v.whyUnknown(name)})
		case 1:
			found[machineKey(ms[0])] = ms[0]
		default:
			out.unknown = append(out.unknown, unknown{name, v.whyAmbiguous(name, ms)})
		}
	}
	if len(r.selectors) > 0 {
		for key, m := range v.machines {
			if slices.ContainsFunc(r.selectors, func(s match.Selector) bool { return s.Matches(m) }) {
				found[key] = m.GetMachine()
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out.machines = append(out.machines, found[key])
	}
	return out
}

func (v *inventory) whyUnknown(name string) string {
	why := fmt.Sprintf("%q is no machine", name)
	if near := v.near(name); len(near) > 0 {
		for i, n := range near {
			near[i] = fmt.Sprintf("%q", n)
		}
		return why + "; near: " + strings.Join(near, ", ")
	}
	return why
}

const listedMax = 8 // names that a reason repeats

func (v *inventory) whyAmbiguous(name string, ms []*schemas.Machine) string {
	paths := make([]string, 0, listedMax)
	for _, m := range ms[:min(len(ms), listedMax)] {
		path := fmt.Sprintf("%q", schemas.MachineRefOf(m).Path())
		if folder := v.machines[machineKey(m)].GetFolder(); folder != "" {
			path += fmt.Sprintf(" in folder %q", folder)
		}
		paths = append(paths, path)
	}
	return fmt.Sprintf("%q means %d machines: %s; say which, as source/id", name, len(ms), strings.Join(paths, ", "))
}

// whyNothing says why a job has no machine at all.
func (r resolved) whyNothing(v *inventory) string {
	if len(r.unknown) == 0 {
		var words []string
		for _, s := range r.asked[:min(len(r.asked), listedMax)] {
			words = append(words, s.String())
		}
		return fmt.Sprintf("no machine matches %s: %d are known, of %d sources", strings.Join(words, ", "), len(v.machines), len(v.listed))
	}
	var whys []string
	for _, u := range r.unknown[:min(len(r.unknown), listedMax)] {
		whys = append(whys, u.why)
	}
	if more := len(r.unknown) - len(whys); more > 0 {
		whys = append(whys, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(whys, "; ")
}
