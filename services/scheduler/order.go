package scheduler

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// ordered takes a machine's part of a job, or a cancel. An error is false input.
func (s *state) ordered(q *schemas.BackupQueued, now time.Time, fx *effects) error {
	if q.GetCancel() {
		s.cancel(q.GetJob().GetId(), now, fx)
		return nil
	}
	if _, ok := schemas.UUIDOf(q.GetBackup()); !ok || q.GetMachine().GetSource() == "" {
		return errors.New("order without a backup's id or a source")
	}
	m := s.machine(q.GetMachine())
	// A repeat first: an order that was begun in time must not be refused for its age when the log is read again.
	if m.knows(q.GetBackup()) {
		return nil
	}
	switch {
	case expired(q, now):
		fx.first = append(fx.first, refusedWord(q, expiredReason(q)))
	case len(m.row.GetPending()) >= pendingMax:
		fx.first = append(fx.first, refusedWord(q, fmt.Sprintf("too many pending: %d orders of machine %s wait already", pendingMax, name(q.GetMachine()))))
		m.done(q.GetBackup()) // else its repeat might find room, after it was refused
		fx.write(m, now)
	default:
		m.row.Pending = append(m.row.GetPending(), q)
		fx.write(m, now)
		told := queuedWord(q, "")
		fx.tell(m, now, told)
		s.grant(m.source, now, fx)
		if m.pendingAt(q.GetBackup()) >= 0 {
			told.Waiting = s.waiting(m, q, now)
		}
	}
	return nil
}

// cancel ends a job: orders that wait are withdrawn at once, an open Run by the
// auditor's word. What is withdrawn or judged already is too late.
func (s *state) cancel(job []byte, now time.Time, fx *effects) {
	of := func(q *schemas.BackupQueued) bool { return bytes.Equal(q.GetJob().GetId(), job) }
	for _, m := range s.sorted(func(m *machine) bool {
		return slices.ContainsFunc(m.row.GetPending(), of) || of(m.row.GetOpen().GetOrder())
	}) {
		for i := 0; i < len(m.row.GetPending()); {
			q := m.row.GetPending()[i]
			if !of(q) {
				i++
				continue
			}
			fx.first = append(fx.first, cancelledWord(q))
			m.drop(i)
			fx.write(m, now)
		}
		o := m.row.GetOpen()
		if o == nil || !of(o.GetOrder()) {
			continue
		}
		if st := o.GetState(); st == schemas.OpenRun_STATE_LEASED || st == schemas.OpenRun_STATE_BACKOFF {
			s.withdraw(m, schemas.Status_STATUS_CANCELLED, cancelled, now, fx)
		}
	}
}

// refuseOld tells orders of m that waited past their time.
func (s *state) refuseOld(m *machine, now time.Time, fx *effects) {
	for i := 0; i < len(m.row.GetPending()); {
		q := m.row.GetPending()[i]
		if !expired(q, now) {
			i++
			continue
		}
		fx.first = append(fx.first, refusedWord(q, expiredReason(q)))
		m.drop(i)
		fx.write(m, now)
	}
}

func expired(q *schemas.BackupQueued, now time.Time) bool {
	at := q.GetOptions().GetNotAfterMs()
	return at != 0 && now.UnixMilli() > at
}

func expiredReason(q *schemas.BackupQueued) string {
	return fmt.Sprintf("expired: backup of %s was not to begin after %s", name(q.GetMachine()), schemas.MilliTime(q.GetOptions().GetNotAfterMs()).Format(time.RFC3339))
}

// name is a machine in a sentence; quoted, because names may hold anything.
func name(m *schemas.Machine) string {
	if m.GetName() == "" {
		return fmt.Sprintf("%q", m.GetSource()+"/"+m.GetId())
	}
	return fmt.Sprintf("%q", m.GetName())
}
