package scheduler

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Slots are counted here, in the one room that owns a source, so that any number
// of exporters keeps its limits. They stand in the rows, each with the attempt
// that holds it; the sums in memory are recounted at recall. Nothing but the
// exporter's answer frees one.

// limit returns how many snapshots and lease directories may be open at once.
// Bytes in flight are at most dirs × window, hence dirs = share / window.
func (s *source) limit() (snapshots, dirs uint64) {
	f := s.found
	if f.GetWindowBytes() == 0 {
		return 0, 0
	}
	return uint64(f.GetSnapshotsMax()), f.GetShareBytes() / f.GetWindowBytes()
}

// full says in words which slot is lacking; empty: there is one of each.
func (s *source) full() string {
	snapshots, dirs := s.limit()
	switch {
	case s.found == nil:
		return fmt.Sprintf("source %s to be listed", s.name)
	case s.snapshots >= snapshots:
		return fmt.Sprintf("a snapshot slot of source %s: %d of %d are in use", s.name, s.snapshots, snapshots)
	case s.dirs >= dirs:
		return fmt.Sprintf("a window in the staging share of source %s: %d of %d are in use", s.name, s.dirs, dirs)
	}
	return ""
}

func (m *machine) take(o *schemas.OpenRun) {
	o.SourceSlot, o.RegionSlot = uint64(o.GetRun().GetAttempt()), uint64(o.GetRun().GetAttempt())
	m.source.snapshots++
	m.source.dirs++
}

func (m *machine) freeSnapshot(o *schemas.OpenRun) {
	o.SourceSlot = 0
	m.source.snapshots--
}

func (m *machine) freeDir(o *schemas.OpenRun) {
	o.RegionSlot = 0
	m.source.dirs--
}

func slotsFree(o *schemas.OpenRun) bool { return o.GetSourceSlot() == 0 && o.GetRegionSlot() == 0 }

// recount sums the slots up from the rows.
func (s *source) recount() {
	s.snapshots, s.dirs = 0, 0
	for _, m := range s.machines {
		if m.row.GetOpen().GetSourceSlot() != 0 {
			s.snapshots++
		}
		if m.row.GetOpen().GetRegionSlot() != 0 {
			s.dirs++
		}
	}
}
