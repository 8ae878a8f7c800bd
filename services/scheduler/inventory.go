package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// inventory is the whole of machines.found: what names and selectors mean now.
type inventory struct {
	machines map[string]*schemas.MachineFound // by key; those that are gone are not here; without disks and findings
	byName   map[string][]*schemas.Machine    // sorted by key
	byID     map[string][]*schemas.Machine
	listed   map[string]bool // source to whether it was listed whole
}

func newInventory() *inventory {
	return &inventory{machines: map[string]*schemas.MachineFound{}, byName: map[string][]*schemas.Machine{},
		byID: map[string][]*schemas.Machine{}, listed: map[string]bool{}}
}

// take keeps a row of the table; nil is its end.
func (v *inventory) take(key string, row *schemas.MachineFound) {
	source, id, _ := strings.Cut(key, "\n")
	if id == "" {
		if row == nil {
			delete(v.listed, source)
			return
		}
		v.listed[source] = row.GetSource().GetListedMs() != 0
		return
	}
	if old := v.machines[key]; old != nil {
		remove(v.byName, old.GetMachine().GetName(), key)
		remove(v.byID, old.GetMachine().GetId(), key)
		delete(v.machines, key)
	}
	if row == nil || row.GetGone() {
		return
	}
	m := row.GetMachine()
	v.machines[key] = &schemas.MachineFound{Machine: m, Folder: row.GetFolder(), Tags: row.GetTags(), Host: row.GetHost(), Cluster: row.GetCluster()}
	insert(v.byName, m.GetName(), m)
	insert(v.byID, m.GetId(), m)
}

func insert(index map[string][]*schemas.Machine, at string, m *schemas.Machine) {
	index[at] = append(index[at], m)
	slices.SortFunc(index[at], func(a, b *schemas.Machine) int { return cmp.Compare(machineKey(a), machineKey(b)) })
}

func remove(index map[string][]*schemas.Machine, at, key string) {
	index[at] = slices.DeleteFunc(index[at], func(m *schemas.Machine) bool { return machineKey(m) == key })
	if len(index[at]) == 0 {
		delete(index, at)
	}
}

// complete reports whether every source known was listed once, so that what is
// not here is nowhere.
func (v *inventory) complete() bool {
	for _, listed := range v.listed {
		if !listed {
			return false
		}
	}
	return len(v.listed) > 0
}

// named returns the machines that a name may mean. source/id comes first: it
// is the one way of saying that can always be made exact.
func (v *inventory) named(name string) []*schemas.Machine {
	for at, r := range name {
		if r != '/' {
			continue
		}
		if m := v.machines[name[:at]+"\n"+name[at+1:]]; m != nil {
			return []*schemas.Machine{m.GetMachine()}
		}
	}
	if found := v.byName[name]; len(found) > 0 {
		return found
	}
	return v.byID[name]
}

// near returns up to three names that name may have meant, with their sources.
func (v *inventory) near(name string) []string {
	names := slices.Sorted(maps.Keys(v.byName))
	var near []string
	for len(near) < 3 {
		n := schemas.Nearest(name, names)
		if n == "" {
			break
		}
		near = append(near, n)
		names = slices.DeleteFunc(names, func(s string) bool { return s == n })
	}
	return near
}
