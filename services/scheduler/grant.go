package scheduler

import (
	"cmp"
	"maps"
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
		m := s.best(src, now, fx)
		if m == nil {
			return
		}
		s.grantTo(m, now, fx)
	}
}

// best picks who is next: attempts that failed and are due again before new
// backups, then by priority, then by age. Where the first must wait for its host
// or a datastore, others go before it, to other ones: of each of its own, one
// slot is kept for it. Without that a machine on two datastores would starve
// between machines that need one; and were slots kept for all that wait, those
// of a full datastore would stop the hosts that they are on.
func (s *state) best(src *source, now time.Time, fx *effects) *machine {
	for _, m := range src.machines {
		if m.row.GetOpen() == nil {
			s.refuseOld(m, now, fx)
		}
	}
	first := src.first(now, anyone)
	if first == nil || src.lacks(first, nil) == "" {
		return first
	}
	return src.first(now, func(m *machine) bool { return m != first && src.lacks(m, first) == "" })
}

func anyone(*machine) bool { return true }

// first is the first of those machines that could be leased now.
func (s *source) first(now time.Time, of func(*machine) bool) (first *machine) {
	for _, m := range s.machines {
		if m.ready(now) && (first == nil || before(m, first) < 0) && of(m) {
			first = m
		}
	}
	return first
}

// ready reports whether m could be leased now. A second attempt waits until the
// first has given its slots back: the exporter does that at once.
func (m *machine) ready(now time.Time) bool {
	o := m.row.GetOpen()
	if o == nil {
		return len(m.row.GetPending()) > 0
	}
	return o.GetState() == schemas.OpenRun_STATE_BACKOFF && slotsFree(o) && o.GetNotBeforeMs() <= now.UnixMilli()
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

func before(a, b *machine) int {
	rank := func(m *machine) int {
		if m.row.GetOpen() != nil {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), older(a.next(), b.next()), cmp.Compare(a.key, b.key))
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

// sorted returns the machines in an order that does not change from run to run.
func (s *state) sorted() []*machine {
	all := slices.Collect(maps.Values(s.machines))
	slices.SortFunc(all, func(a, b *machine) int { return cmp.Compare(a.key, b.key) })
	return all
}
