package scheduler

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// grant leases while there are free slots and someone to take them.
func (s *state) grant(src *source, now time.Time, fx *effects) {
	if s.epoch == 0 {
		return
	}
	for src.full() == "" {
		t := src.pick()
		if t == nil {
			return
		}
		if m := t.m; m.row.GetOpen() == nil && expired(t.order, now) {
			s.refuseOld(m, now, fx)
		} else {
			src.line.granted(t)
			s.grantTo(m, now, fx)
		}
	}
}

// pick chooses who is next, in this order: the heir; now and then who has waited
// longest; attempts that failed and are due again; by priority; by fair shares; by
// what was promised (line.go).
//
// Where the one chosen must wait for its host or a datastore, others go before it,
// to other ones, and it is the heir: of each of its own spots one slot is kept for
// it, until it is leased or gone, and for nobody else. Without that a machine on two
// datastores would starve between machines that need one; and were slots kept for
// all that wait, those of a full datastore would stop the hosts that they are on.
func (s *source) pick() *ticket {
	l := &s.line
	if h := l.heir; h != nil {
		if s.policyFull(h.bench.flow.ofPolicy) { // nobody else may have its slots idle for that
			l.disown()
		} else if s.lacking(h.bench.place.where, nil) == nil {
			return h
		}
	}
	if t := s.aged(); t != nil {
		return t
	}
	for t := l.first(s.policyFull); t != nil; t = l.first(s.policyFull) {
		lacks := s.lacking(t.bench.place.where, l.heir)
		if lacks == nil {
			return t
		}
		if l.heir == nil {
			l.heir = t
		}
		l.park(t.bench.place, *lacks)
	}
	return nil
}

// aged is who has waited longest, if it is its turn and there are slots for it. If
// there are none it becomes the heir, as soon as there is no other.
func (s *source) aged() *ticket {
	l := &s.line
	t := l.ages.first().ticket
	if l.young < agedOneIn-1 || t == nil || s.policyFull(t.bench.flow.ofPolicy) {
		return nil
	}
	if s.lacking(t.bench.place.where, l.heir) == nil {
		return t
	}
	if l.heir == nil {
		l.heir = t
	}
	return nil
}

// due returns the order that m could be leased for now, and its rank; nil: it could
// not. A second attempt waits until the first has given its slots back: the exporter
// does that at once.
func (m *machine) due(now time.Time) (*schemas.BackupQueued, rank) {
	o, q := m.row.GetOpen(), m.next()
	switch {
	case q == nil:
		return nil, rank{}
	case o == nil:
		return q, rank{false, q.GetOptions().GetPriority()}
	case o.GetState() == schemas.OpenRun_STATE_BACKOFF && slotsFree(o) && o.GetNotBeforeMs() <= now.UnixMilli():
		return q, rank{true, q.GetOptions().GetPriority()}
	}
	return nil, rank{}
}

// next is the order that m would be leased for.
func (m *machine) next() *schemas.BackupQueued {
	if o := m.row.GetOpen(); o != nil {
		return o.GetOrder()
	}
	if len(m.row.GetPending()) == 0 {
		return nil
	}
	return slices.MinFunc(m.row.GetPending(), older)
}

func older(a, b *schemas.BackupQueued) int {
	return cmp.Or(-cmp.Compare(a.GetOptions().GetPriority(), b.GetOptions().GetPriority()), cmp.Compare(a.GetSinceMs(), b.GetSinceMs()))
}

// grantTo opens the next attempt of m. The row goes out, acknowledged, before
// the word: what was begun must be known to whoever comes after us.
func (s *state) grantTo(m *machine, now time.Time, fx *effects) {
	o := m.row.GetOpen()
	if o == nil {
		q := m.next()
		i := m.pendingAt(q.GetBackup())
		m.row.Pending = slices.Delete(m.row.GetPending(), i, i+1)
		o = &schemas.OpenRun{Order: q, LeasedMs: now.UnixMilli()}
		m.row.Open = o
	}
	lease := s.lease()
	o.Run = &schemas.Run{Backup: o.GetOrder().GetBackup(), Attempt: o.GetRun().GetAttempt() + 1, Lease: lease.Bytes(), Epoch: s.epoch,
		Traceparent: o.GetOrder().GetTraceparent()}
	o.State, o.NotBeforeMs = schemas.OpenRun_STATE_LEASED, 0 // the reason stays: why the attempt before ended
	o.GrantedMs, o.WindowBytes = now.UnixMilli(), m.source.found.GetWindowBytes()
	o.Base = nil
	if o.GetOrder().GetOptions().GetMode() != schemas.Options_MODE_FULL && m.row.GetLast() != nil {
		o.Base = proto.CloneOf(m.row.GetLast())
	}
	o.Check = m.checkWhy(o)
	m.take(o)
	s.progressed(m, now)
	fx.write(m, now)
	fx.tell(m, now, openWord(o))
}

// progressed moves the deadline of the attempt under way.
func (s *state) progressed(m *machine, now time.Time) {
	m.deadline = now.Add(s.limits.Silence)
	m.row.GetOpen().DeadlineMs = m.deadline.UnixMilli()
}

// sorted returns those machines in an order that does not change from run to run.
// It walks over all of them, for a recall or a person's cancel.
func (s *state) sorted(those func(*machine) bool) (all []*machine) {
	for _, m := range s.machines {
		if those(m) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *machine) int { return cmp.Compare(a.key, b.key) })
	return all
}

func everyone(*machine) bool { return true }
