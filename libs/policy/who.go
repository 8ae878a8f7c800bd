package policy

import (
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/match"
	"github.com/holdfast-backup/holdfast/schemas"
)

const machineMax = 1024 // bytes of source/id

// who are machines by name and by what they are.
type who struct {
	names     map[string]bool
	selectors []match.Selector
}

func newWho(at string, names []string, selectors []schemas.Selector) (w who, err error) {
	switch {
	case len(names) > machinesMax:
		return w, fmt.Errorf("%smachines: %d are too many, at most %d", at, len(names), machinesMax)
	case len(selectors) > selectorsMax:
		return w, fmt.Errorf("%sselectors: %d are too many, at most %d", at, len(selectors), selectorsMax)
	}
	w.names = make(map[string]bool, len(names))
	for i, name := range names {
		switch {
		case name == "":
			return w, fmt.Errorf("%smachines[%d]: is empty", at, i)
		case len(name) > machineMax:
			return w, fmt.Errorf("%smachines[%d]: is a name of %d bytes, at most %d", at, i, len(name), machineMax)
		}
		w.names[name] = true
	}
	for i, s := range selectors {
		sel, err := match.Compile(s)
		if err != nil {
			return w, fmt.Errorf("%sselectors[%d]: %w", at, i, err)
		}
		w.selectors = append(w.selectors, sel)
	}
	return w, nil
}

// means reports whether the machine is one of them.
func (w who) means(m *schemas.MachineFound) bool {
	if len(w.names) > 0 {
		for _, name := range calls(m) {
			if w.names[name] {
				return true
			}
		}
	}
	return slices.ContainsFunc(w.selectors, func(s match.Selector) bool { return s.Matches(m) })
}

// calls are the names that a machine answers to.
func calls(m *schemas.MachineFound) [3]string {
	of := m.GetMachine()
	return [3]string{of.GetSource() + "/" + of.GetId(), of.GetName(), of.GetId()}
}

// Selects reports whether the policy means a machine as it was found last.
func (p *Policy) Selects(m *schemas.MachineFound) bool {
	return p.who.means(m) && !p.not.means(m)
}

// Nobody returns the machines that the policy names and that are none of found, in
// the policy's order.
func (p *Policy) Nobody(found []*schemas.MachineFound) (names []string) {
	known := map[string]bool{}
	for _, m := range found {
		for _, name := range calls(m) {
			known[name] = true
		}
	}
	for _, name := range p.Machines {
		if !known[name] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
