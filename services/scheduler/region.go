package scheduler

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// region is what one region has: its rows of machines.found.
type region struct {
	name     string
	machines map[string]*schemas.MachineFound // by key; those that are gone are not here; without disks and findings
	byName   map[string][]*schemas.Machine    // sorted by key
	byID     map[string][]*schemas.Machine
	listed   map[string]bool // source to whether it was listed whole
	parts    int32           // of its backups.queued
	read     bool            // all its rows of the beginning are here
	since    time.Time       // we wait from here on for what is not listed
}

func newRegion(name string, now time.Time) *region {
	return &region{name: name, machines: map[string]*schemas.MachineFound{}, byName: map[string][]*schemas.Machine{},
		byID: map[string][]*schemas.Machine{}, listed: map[string]bool{}, since: now}
}

// take keeps a row of the table; nil is its end.
func (g *region) take(key string, row *schemas.MachineFound, now time.Time) {
	source, id, _ := strings.Cut(key, "\n")
	if id == "" {
		_, known := g.listed[source]
		switch {
		case row == nil:
			delete(g.listed, source)
			return
		case !known && row.GetSource().GetListedMs() == 0:
			g.since = now
		}
		g.listed[source] = row.GetSource().GetListedMs() != 0
		return
	}
	if old := g.machines[key]; old != nil {
		remove(g.byName, old.GetMachine().GetName(), key)
		remove(g.byID, old.GetMachine().GetId(), key)
		delete(g.machines, key)
	}
	if row == nil || row.GetGone() {
		return
	}
	m := row.GetMachine()
	g.machines[key] = &schemas.MachineFound{Machine: m, Folder: row.GetFolder(), Tags: row.GetTags(), Host: row.GetHost(), Cluster: row.GetCluster()}
	insert(g.byName, m.GetName(), m)
	insert(g.byID, m.GetId(), m)
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

// lacks says what of the region was never listed, so that more machines may come;
// empty: all was, and what is not here is nowhere.
func (g *region) lacks() string {
	var never []string
	for source, listed := range g.listed {
		if !listed {
			never = append(never, source)
		}
	}
	slices.Sort(never)
	switch {
	case !g.read:
		return "region " + g.name + " can't be read now"
	case len(g.listed) == 0:
		return "region " + g.name + " has listed no source yet"
	case len(never) > 0:
		return "never listed in region " + g.name + ": " + strings.Join(never[:min(len(never), listedMax)], ", ")
	}
	return ""
}

// exact returns the machine that a name says as source/id.
func (g *region) exact(name string) *schemas.Machine {
	for at, r := range name {
		if r != '/' {
			continue
		}
		if m := g.machines[name[:at]+"\n"+name[at+1:]]; m != nil {
			return m.GetMachine()
		}
	}
	return nil
}
