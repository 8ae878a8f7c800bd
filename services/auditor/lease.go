package auditor

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// withdrawal waits for what becomes of a backup that is completing.
type withdrawal struct {
	hold *stage.Hold
	said *schemas.BackupLeased
}

// onLeased hears what the scheduler decided.
func (r *room) onLeased(in *stage.In, l *schemas.BackupLeased) error {
	if len(l.GetRun().GetBackup()) != 16 {
		return stage.Refuse(fmt.Errorf("backup of %d bytes, want 16", len(l.GetRun().GetBackup())))
	}
	id := schemas.UUID(l.Run.Backup)
	if p := r.past[id]; p != nil {
		if l.Verb == schemas.BackupLeased_VERB_LEASED || l.Verb == schemas.BackupLeased_VERB_WITHDRAWN {
			r.answerAgain(in, p.verdict())
		}
		return nil
	}
	switch l.Verb {
	case schemas.BackupLeased_VERB_QUEUED:
		if b := r.backups[id]; b == nil || b.cur == nil && b.verdict == nil {
			in.Emit(r.queued(l))
		}
	case schemas.BackupLeased_VERB_LEASED:
		if err := checkRun(l.Run); err != nil {
			return stage.Refuse(err)
		}
		return r.lease(in, r.backup(id), l)
	case schemas.BackupLeased_VERB_WITHDRAWN, schemas.BackupLeased_VERB_REFUSED:
		return r.withdraw(in, r.backup(id), l)
	}
	return nil
}

// lease follows a new attempt. Its row is acknowledged before any of its pages can
// be: of two leases of one number the first in this log stays the one.
func (r *room) lease(in *stage.In, b *backup, l *schemas.BackupLeased) error {
	if b.verdict != nil || b.judging {
		return nil // it is about to be told
	}
	if a := b.attempts[schemas.UUID(l.Run.Lease)]; a != nil && a.failed != nil {
		in.Emit(judgedFailed(a))
		return nil
	}
	a, old := b.follow(l)
	if a == nil {
		return nil
	}
	if err := r.Put(r.row(b.id, leaseRow(l.Run.Lease), &schemas.PageFiled{Row: &schemas.PageFiled_Lease{Lease: &schemas.LeaseSeen{Leased: l}}})); err != nil {
		return err
	}
	if old != nil {
		release(old.end())
		r.sweep(b)
	}
	b.stirred = true
	return r.unpark(b)
}

// withdraw ends a backup that has not ended. While it completes, the scheduler's
// word waits: it may have come too late.
func (r *room) withdraw(in *stage.In, b *backup, l *schemas.BackupLeased) error {
	switch {
	case b.verdict != nil || b.judging:
		return nil
	case b.completing != nil || b.finishing:
		b.withdrawn = append(b.withdrawn, &withdrawal{in.Hold(), l})
		return nil
	}
	return r.judge(b, r.withdrawal(b, l))
}

// withdrawal is the verdict on a backup that the scheduler gave up or refused.
func (r *room) withdrawal(b *backup, l *schemas.BackupLeased) *schemas.Verdict {
	v := &schemas.Verdict{Run: l.Run, Job: l.Job, Tenant: l.Tenant, Machine: l.Machine, Status: l.Status, Reason: l.Reason, Policy: l.Policy,
		QueuedMs: l.SinceMs, LeasedMs: l.LeasedMs, DoneMs: r.now().UnixMilli(), Totals: &schemas.Totals{}}
	if l.Verb == schemas.BackupLeased_VERB_REFUSED {
		v.Status = schemas.Status_STATUS_REFUSED
	}
	if v.Status != schemas.Status_STATUS_REFUSED && v.Status != schemas.Status_STATUS_CANCELLED {
		v.Status = schemas.Status_STATUS_FAILED
	}
	v.Warnings = b.before()
	if a := b.cur; a != nil {
		addTotals(v.Totals, &a.totals)
		v.Reason = withCause(v.Reason, v.Status, a.failed)
		if v.Machine == nil {
			v.Machine, v.Job, v.Tenant, v.Policy = a.leased.Machine, a.leased.Job, a.leased.Tenant, a.leased.Policy
		}
		if v.LeasedMs == 0 {
			v.QueuedMs, v.LeasedMs = a.leased.SinceMs, a.leased.LeasedMs
		}
	}
	return v
}

// withCause gives a failure the reason that the last attempt had, if the scheduler
// names none.
func withCause(reason string, s schemas.Status, f *fault) string {
	if reason == "" && s == schemas.Status_STATUS_FAILED && f != nil {
		return f.Error()
	}
	return reason
}

// fail ends the attempt that is followed. The row goes first: an attempt that was
// said to have failed must not complete after a restart.
func (r *room) fail(b *backup, a *attempt, f *fault) error {
	if a.over || b.verdict != nil {
		return nil
	}
	r.log.Warn("attempt failed", "backup", b.id, "attempt", a.run().GetAttempt(), "lease", a.lease, "why", f)
	a.failed = f
	holds := a.end()
	s := &schemas.LeaseSeen{Leased: a.leased, Failed: true, Code: f.code, Reason: f.reason, Permanent: f.permanent}
	if err := r.Put(r.row(b.id, leaseRow(a.lease[:]), &schemas.PageFiled{Row: &schemas.PageFiled_Lease{Lease: s}})); err != nil {
		return err
	}
	if err := r.Put(judgedFailed(a)); err != nil {
		return err
	}
	release(holds)
	r.sweep(b)
	return nil
}

func judgedFailed(a *attempt) topics.Event {
	f := a.failed
	return judged(a.run(), a.leased.GetMachine(), &schemas.BackupJudged{Word: &schemas.BackupJudged_AttemptFailed{
		AttemptFailed: &schemas.AttemptFailed{Code: f.code, Reason: f.reason, Permanent: f.permanent}}})
}

func judged(run *schemas.Run, m *schemas.Machine, j *schemas.BackupJudged) topics.Event {
	j.Run, j.Machine = run, m
	return topics.BackupsJudged.Event([]byte(m.GetSource()), j)
}
