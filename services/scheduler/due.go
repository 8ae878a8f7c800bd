package scheduler

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// retryMin and a policy's RPO bound how soon an RPO's backup that failed is tried
	// again: 5, 10, 20 … minutes, and no later than the RPO itself would have it.
	retryMin = 5 * time.Minute
	// pollEvery is when an RPO is looked at again whose machine is being backed up.
	pollEvery = time.Minute
	// duesMax is how many dues one beat looks at: with rowsMax what bounds it.
	duesMax = 4000
)

// What becomes of a due.
const (
	dueOrdered   = "ordered"
	dueMissed    = "missed"    // nobody was there, or nothing might be begun: the newest of several is done
	dueUnderWay  = "under_way" // the one before it is not over
	dueFull      = "full"      // too many orders of the machine wait
	dueLate      = "too_late"  // it was not to begin any more
	dueHeld      = "held"      // its order was taken back for a blackout
	dueEnded     = "withdrawn" // its policy does not want it any more
	dueCancelled = "cancelled" // by a person
)

// duties does what policies want by now: orders that wait are taken back where a
// blackout begins, machines are matched, and what is due is ordered.
func (s *state) duties(now time.Time, fx *effects) {
	s.holdUp(now, fx)
	if s.plans.changed {
		s.allStale()
	}
	s.matchStale(now, fx)
	for range duesMax {
		if len(fx.rows) >= rowsMax {
			break // the rest a beat later
		}
		ms := s.plans.due.next(now)
		if ms == nil {
			break
		}
		s.fall(ms, now, fx)
	}
}

// occasion is the time by which a due is known. One of an RPO that failed is tried
// again on another occasion, which may be before the promise ends.
func (ms *membership) occasion() int64 { return cmp.Or(ms.row.GetNotBeforeMs(), ms.row.GetDueMs()) }

// arm has a membership looked at when it may begin what is due, from a moment on.
func (s *state) arm(ms *membership, from time.Time) {
	if ms.row.GetDueMs() == 0 { // its calendar has ended
		s.plans.due.disarm(ms)
		return
	}
	ms.plan.count(ms, ms.occasion())
	if wait := schemas.MilliTime(ms.row.GetNotBeforeMs()); wait.After(from) {
		from = wait
	}
	of := ms.machine.row.GetMachine()
	s.plans.due.arm(ms, ms.plan.Begin(schemas.MilliTime(ms.row.GetDueMs()), from, of.GetSource(), of.GetId()))
}

// fall looks at a membership whose time has come.
func (s *state) fall(ms *membership, now time.Time, fx *effects) {
	p, m := ms.plan, ms.machine
	if s.plans.policies[p.Name] != p { // changed, and not matched yet
		return
	}
	if p.held || !p.Held(now).IsZero() {
		s.arm(ms, now.Add(beat))
		return
	}
	if p.RPO() > 0 && (m.isBackedUp() || m.underWay(p.Name) != nil) { // another point may be what it wants
		s.plans.due.arm(ms, now.Add(pollEvery))
		return
	}
	s.order(ms, now, fx)
}

// order makes of what is due an order, or says why there is none. Both stand in the
// row together with the next due, or not at all.
func (s *state) order(ms *membership, now time.Time, fx *effects) {
	p, m := ms.plan, ms.machine
	s.passOver(ms, now)
	due := schemas.MilliTime(ms.row.GetDueMs())
	q := s.orderOf(ms, due, now)
	outcome, why := s.hindrance(ms, q, now)
	switch {
	case m.knows(q.GetBackup()): // it came to no point, and nobody tries again: a person cancelled it
		outcome = dueCancelled
	case why != "":
		fx.first = append(fx.first, refusedWord(q, why))
	default:
		m.row.Pending = append(m.row.GetPending(), q)
		fx.tell(m, now, queuedWord(q, fmt.Sprintf("its turn: it is due by policy %q", p.Name)))
	}
	s.plans.counts[outcome]++
	switch {
	case p.RPO() == 0:
		ms.row.DueMs = milli(p.Next(due))
		s.arm(ms, now)
	case outcome == dueOrdered:
		s.plans.due.arm(ms, now.Add(pollEvery))
	default:
		ms.row.NotBeforeMs = now.Add(p.RPO()).UnixMilli()
		s.arm(ms, now)
	}
	fx.write(m, now)
}

// passOver leaves all but the newest of several dues of a calendar: nobody was there,
// or nothing might be begun.
func (s *state) passOver(ms *membership, now time.Time) {
	if ms.row.GetDueMs() == 0 || ms.plan.RPO() > 0 {
		return
	}
	last, missed := ms.plan.Last(schemas.MilliTime(ms.row.GetDueMs()), now)
	s.plans.counts[dueMissed] += missed
	ms.row.DueMs = last.UnixMilli()
	ms.plan.count(ms, ms.occasion())
}

// orderOf is the backup that is due: the same, whoever computes it.
func (s *state) orderOf(ms *membership, due, now time.Time) *schemas.BackupQueued {
	p, of := ms.plan, ms.machine.row.GetMachine()
	if f := s.plans.found[ms.machine.key]; f != nil {
		of = f.GetMachine() // it may have another name now
	}
	at := ms.occasion()
	return &schemas.BackupQueued{Job: &schemas.Job{Id: schemas.PolicyJobID(p.Name, at).Bytes(), Of: p.told(ms)},
		Backup: schemas.DueID(p.Name, of.GetSource(), of.GetId(), at).Bytes(), Tenant: p.Tenant, Machine: of, Options: p.Options(p.Expires(due)),
		SinceMs: now.UnixMilli(), Policy: p.Name, DueMs: due.UnixMilli(), RpoMs: p.Promise(due).Milliseconds()}
}

// hindrance is what becomes of a due, and why it is not ordered.
func (s *state) hindrance(ms *membership, q *schemas.BackupQueued, now time.Time) (outcome, why string) {
	m, due := ms.machine, schemas.MilliTime(q.GetDueMs()).Format(time.RFC3339)
	if id := m.underWay(ms.plan.Name); id != nil {
		return dueUnderWay, fmt.Sprintf("skipped: it was due at %s by policy %q, and backup %s of the same policy was not over", due, ms.plan.Name, schemas.IDText(id))
	}
	switch {
	case expired(q, now):
		return dueLate, fmt.Sprintf("skipped: it was due at %s by policy %q; %s", due, ms.plan.Name, expiredReason(q))
	case len(m.row.GetPending()) >= pendingMax:
		return dueFull, fmt.Sprintf("skipped: it was due at %s by policy %q; too many pending: %d orders of machine %s wait already", due, ms.plan.Name, pendingMax, name(q.GetMachine()))
	}
	return dueOrdered, ""
}

// underWay is the backup of a policy that is not over; nil: there is none.
func (m *machine) underWay(policy string) []byte {
	if o := m.row.GetOpen(); o.GetOrder().GetPolicy() == policy && m.isBackedUp() {
		return o.GetRun().GetBackup()
	}
	if i := slices.IndexFunc(m.row.GetPending(), func(q *schemas.BackupQueued) bool { return q.GetPolicy() == policy }); i >= 0 {
		return m.row.GetPending()[i].GetBackup()
	}
	return nil
}

// isBackedUp reports whether there is a Run whose verdict is to come.
func (m *machine) isBackedUp() bool {
	return m.row.GetOpen() != nil && m.row.GetOpen().GetState() != schemas.OpenRun_STATE_JUDGED
}

// settled moves what RPOs want of m by how its backup ended.
func (s *state) settled(m *machine, q *schemas.BackupQueued, v *schemas.Verdict, now time.Time) {
	if v.GetStatus() == schemas.Status_STATUS_COMPLETED {
		m.row.PointMs = max(m.row.GetPointMs(), min(cmp.Or(v.GetSnapshotMs(), v.GetLeasedMs(), now.UnixMilli()), now.UnixMilli())) // no clock of a source makes a promise longer
	}
	for _, ms := range s.plans.members[m.key] {
		rpo := ms.plan.RPO()
		if rpo == 0 {
			continue
		}
		switch st := v.GetStatus(); {
		case st == schemas.Status_STATUS_COMPLETED && covers(q, ms.plan):
			ms.row.DueMs, ms.row.NotBeforeMs = m.row.GetPointMs()+rpo.Milliseconds(), 0
		case q.GetPolicy() != ms.plan.Name:
			continue
		case st == schemas.Status_STATUS_CANCELLED: // a person wanted it so
			ms.row.NotBeforeMs = now.Add(rpo).UnixMilli()
		default:
			ms.row.NotBeforeMs = now.Add(retry(rpo, m.row.GetFails())).UnixMilli()
		}
		s.arm(ms, now)
	}
}

// covers reports whether a point of q has all that a policy wants in one.
func covers(q *schemas.BackupQueued, p *plan) bool {
	return q.GetPolicy() == p.Name || !slices.ContainsFunc(q.GetOptions().GetExcludedDisks(), func(disk string) bool { return !slices.Contains(p.ExcludedDisks, disk) })
}

// retry doubles from retryMin with each backup that failed, up to the RPO.
func retry(rpo time.Duration, fails uint32) time.Duration {
	return min(retryMin<<min(max(fails, 1)-1, 16), rpo)
}

// sameBackup reports whether a is the backup of b.
func sameBackup(a, b *schemas.BackupQueued) bool { return bytes.Equal(a.GetBackup(), b.GetBackup()) }
