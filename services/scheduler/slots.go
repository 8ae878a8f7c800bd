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
//	a turn of its policy                           and so long
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
	case !s.brake.bears(u.snapshots):
		return fmt.Sprintf("a snapshot slot of source %s: %d of %d are in use, of %d when attempts get on again", s.name, u.snapshots, s.brake.at, snapshots)
	case !fits(u.connections, s.found.GetConnections()):
		return fmt.Sprintf("a connection to source %s: %d of %d are in use", s.name, u.connections, s.found.GetConnections())
	case u.dirs >= dirs:
		return fmt.Sprintf("a window in the staging share of source %s: %d of %d are in use", s.name, u.dirs, dirs)
	}
	return s.strained()
}

// fits reports whether one more may be taken; a limit of 0 is none.
func fits(used uint64, limit uint32) bool { return limit == 0 || used < uint64(limit) }

// policyFull reports whether a policy has as many backups here as it may.
func (s *source) policyFull(of *share) bool {
	return of.policy != "" && !fits(s.running[of.policy], s.house.atOnce[of.policy])
}

// lacking returns the first spot that a machine there lacks a slot of; nil: there is
// one of each. One that is kept for an heir is not there.
func (s *source) lacking(at where, heir *ticket) *spot {
	var k where
	if heir != nil {
		k = heir.bench.place.where
	}
	free := func(used uint64, limit uint32, keep bool) bool {
		return fits(used, limit) && (!keep || fits(used+1, limit))
	}
	if at.host != "" && !free(s.used.hosts[at.host], s.found.GetPerHost(), at.host == k.host) {
		return &spot{host, at.host}
	}
	for _, d := range at.datastores {
		if !free(s.used.datastores[d], s.found.GetPerDatastore(), slices.Contains(k.datastores, d)) {
			return &spot{datastore, d}
		}
	}
	return nil
}

// lacks says in words what a machine there waits for that is not of the whole
// source; empty: nothing.
func (s *source) lacks(t *ticket) string {
	heir := s.line.heir
	if heir == t {
		heir = nil
	}
	at := s.lacking(t.bench.place.where, heir)
	if at == nil {
		if p := t.bench.flow.ofPolicy; s.policyFull(p) {
			return fmt.Sprintf("a turn of policy %q: %d of %d of its backups run at source %s", p.policy, s.running[p.policy], s.house.atOnce[p.policy], s.name)
		}
		return ""
	}
	used, limit := s.used.hosts[at.which], s.found.GetPerHost()
	if at.what == datastore {
		used, limit = s.used.datastores[at.which], s.found.GetPerDatastore()
	}
	why := fmt.Sprintf("a snapshot slot of %s %s: %d of %d are in use", at.what, at.which, used, limit)
	if fits(used, limit) {
		why += fmt.Sprintf(", and machine %s was first", name(heir.m.row.GetMachine()))
	}
	return why
}

// take gives the attempt one of each; of the host and the datastores that the
// machine has now, whatever it has when they are freed.
func (m *machine) take(o *schemas.OpenRun) {
	attempt := uint64(o.GetRun().GetAttempt())
	at := m.source.where[m.key]
	o.SourceSlot, o.RegionSlot, o.ConnectionSlot = attempt, attempt, attempt
	o.Host, o.Datastores = at.host, at.datastores
	m.source.count(o, 1)
}

func (m *machine) freeSnapshot(o *schemas.OpenRun) {
	m.source.count(&schemas.OpenRun{SourceSlot: o.SourceSlot, Host: o.Host, Datastores: o.Datastores, Order: o.Order}, -1)
	at := where{host: o.Host, datastores: o.Datastores}
	o.SourceSlot, o.Host, o.Datastores = 0, "", nil
	for _, s := range at.spots() {
		m.source.line.wake(s)
	}
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
	clear(s.running)
	for _, h := range s.line.shares {
		h.open = 0
	}
	for _, m := range s.machines {
		s.count(m.row.GetOpen(), 1)
	}
}

// count adds what an open Run holds, or takes it away; also of its tenant's share
// and its policy's.
func (s *source) count(o *schemas.OpenRun, n int) {
	s.used.count(o, n)
	if o.GetSourceSlot() != 0 {
		tenant, policy := s.line.sharesOf(o.GetOrder())
		tenant.open += uint64(n)
		policy.open += uint64(n)
		if name := o.GetOrder().GetPolicy(); name != "" {
			add(&s.running, name, n)
		}
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
