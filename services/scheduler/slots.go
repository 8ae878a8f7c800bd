package scheduler

import (
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Slots are counted here, in the one room that owns a source, so that any number
// of exporters keeps its limits. They stand in the rows, each with the attempt
// that holds it and by the names of what was taken, so that a machine that moves
// frees what it took; the sums in memory are recounted at recall. Nothing but the
// exporter's answer frees one.
//
//	the source, its host, each of its datastores   until the snapshot is gone
//	a connection                                   until all is read
//	a window in the staging share                  until the lease's folder is gone

// used are the slots of a source that are taken.
type used struct {
	snapshots, dirs, connections uint64
	hosts, datastores            map[string]uint64
}

// limit returns how many snapshots and lease directories may be open at once.
// Bytes in flight are at most dirs × window, hence dirs = share / window.
func (s *source) limit() (snapshots, dirs uint64) {
	f := s.found
	if f.GetWindowBytes() == 0 {
		return 0, 0
	}
	return uint64(f.GetSnapshotsMax()), f.GetShareBytes() / f.GetWindowBytes()
}

// full says in words which slot of the whole source is lacking; empty: there is
// one of each.
func (s *source) full() string {
	snapshots, dirs := s.limit()
	u := &s.used
	switch {
	case s.found == nil:
		return fmt.Sprintf("source %s to be listed", s.name)
	case u.snapshots >= snapshots:
		return fmt.Sprintf("a snapshot slot of source %s: %d of %d are in use", s.name, u.snapshots, snapshots)
	case !fits(u.connections, s.found.GetConnections()):
		return fmt.Sprintf("a connection to source %s: %d of %d are in use", s.name, u.connections, s.found.GetConnections())
	case u.dirs >= dirs:
		return fmt.Sprintf("a window in the staging share of source %s: %d of %d are in use", s.name, u.dirs, dirs)
	}
	return ""
}

// fits reports whether one more may be taken; a limit of 0 is none.
func fits(used uint64, limit uint32) bool { return limit == 0 || used < uint64(limit) }

// where is the host that a machine is on, and its datastores, each once.
type where struct {
	host       string
	datastores []string
}

func whereOf(m *schemas.MachineFound) where {
	ds := slices.DeleteFunc(slices.Clone(m.GetDatastores()), func(d string) bool { return d == "" })
	slices.Sort(ds)
	return where{m.GetHost(), slices.Compact(ds)}
}

// lacks says in words which slot of its host or datastores m is lacking; empty:
// there is one of each. One that is kept for another machine is not there.
func (s *source) lacks(m, kept *machine) string {
	at := s.where[m.key]
	k := where{}
	if kept != nil && kept != m {
		k = s.where[kept.key]
	}
	say := func(what, which string, used uint64, limit uint32, keep bool) string {
		if !fits(used, limit) {
			return fmt.Sprintf("a snapshot slot of %s %s: %d of %d are in use", what, which, used, limit)
		}
		if keep && !fits(used+1, limit) {
			return fmt.Sprintf("a snapshot slot of %s %s: %d of %d are in use, and machine %s was first", what, which, used, limit, name(kept.row.GetMachine()))
		}
		return ""
	}
	if at.host != "" {
		if why := say("host", at.host, s.used.hosts[at.host], s.found.GetPerHost(), at.host == k.host); why != "" {
			return why
		}
	}
	for _, d := range at.datastores {
		if why := say("datastore", d, s.used.datastores[d], s.found.GetPerDatastore(), slices.Contains(k.datastores, d)); why != "" {
			return why
		}
	}
	return ""
}

// take gives the attempt one of each; of the host and the datastores that the
// machine has now, whatever it has when they are freed.
func (m *machine) take(o *schemas.OpenRun) {
	attempt := uint64(o.GetRun().GetAttempt())
	at := m.source.where[m.key]
	o.SourceSlot, o.RegionSlot, o.ConnectionSlot = attempt, attempt, attempt
	o.Host, o.Datastores = at.host, at.datastores
	m.source.used.count(o, 1)
}

func (m *machine) freeSnapshot(o *schemas.OpenRun) {
	m.source.used.count(&schemas.OpenRun{SourceSlot: o.SourceSlot, Host: o.Host, Datastores: o.Datastores}, -1)
	o.SourceSlot, o.Host, o.Datastores = 0, "", nil
}

func (m *machine) freeConnection(o *schemas.OpenRun) {
	m.source.used.count(&schemas.OpenRun{ConnectionSlot: o.ConnectionSlot}, -1)
	o.ConnectionSlot = 0
}

func (m *machine) freeDir(o *schemas.OpenRun) {
	m.source.used.count(&schemas.OpenRun{RegionSlot: o.RegionSlot}, -1)
	o.RegionSlot = 0
}

func slotsFree(o *schemas.OpenRun) bool {
	return o.GetSourceSlot() == 0 && o.GetRegionSlot() == 0 && o.GetConnectionSlot() == 0
}

// recount sums the slots up from the rows.
func (s *source) recount() {
	s.used = used{}
	for _, m := range s.machines {
		s.used.count(m.row.GetOpen(), 1)
	}
}

// count adds what an open Run holds, or takes it away.
func (u *used) count(o *schemas.OpenRun, n int) {
	if o.GetSourceSlot() != 0 {
		u.snapshots += uint64(n)
		if o.GetHost() != "" {
			add(&u.hosts, o.GetHost(), n)
		}
		for _, d := range o.GetDatastores() {
			add(&u.datastores, d, n)
		}
	}
	if o.GetConnectionSlot() != 0 {
		u.connections += uint64(n)
	}
	if o.GetRegionSlot() != 0 {
		u.dirs += uint64(n)
	}
}

// add counts by name; what is at zero is not there.
func add(counts *map[string]uint64, name string, n int) {
	if *counts == nil {
		*counts = map[string]uint64{}
	}
	if (*counts)[name] += uint64(n); (*counts)[name] == 0 {
		delete(*counts, name)
	}
}
