package scheduler

import (
	"github.com/holdfast-backup/holdfast/schemas"
)

// Words are made of what stands in a row and nothing else, so that they can be
// said again to the letter.

// word is what every word on an order says.
func word(verb schemas.BackupLeased_Verb, run *schemas.Run, q *schemas.BackupQueued) *schemas.BackupLeased {
	return &schemas.BackupLeased{Run: run, Verb: verb, Job: q.GetJob(), Tenant: q.GetTenant(), Machine: q.GetMachine(),
		Options: q.GetOptions(), SinceMs: q.GetSinceMs(), Policy: q.GetPolicy()}
}

// waitingRun is the Run of a backup that never had a lease.
func waitingRun(q *schemas.BackupQueued) *schemas.Run {
	return &schemas.Run{Backup: q.GetBackup(), Traceparent: q.GetTraceparent()}
}

func queuedWord(q *schemas.BackupQueued, waiting string) *schemas.BackupLeased {
	w := word(schemas.BackupLeased_VERB_QUEUED, waitingRun(q), q)
	w.Waiting = waiting
	return w
}

func refusedWord(q *schemas.BackupQueued, reason string) *schemas.BackupLeased {
	w := word(schemas.BackupLeased_VERB_REFUSED, waitingRun(q), q)
	w.Status, w.Reason = schemas.Status_STATUS_REFUSED, reason
	return w
}

const cancelled = "cancelled, as asked"

// cancelledWord withdraws an order that never had a lease.
func cancelledWord(q *schemas.BackupQueued) *schemas.BackupLeased {
	w := word(schemas.BackupLeased_VERB_WITHDRAWN, waitingRun(q), q)
	w.Status, w.Reason = schemas.Status_STATUS_CANCELLED, cancelled
	return w
}

// openWord is the word that an open Run stands for in its state.
func openWord(o *schemas.OpenRun) *schemas.BackupLeased {
	verb := map[schemas.OpenRun_State]schemas.BackupLeased_Verb{
		schemas.OpenRun_STATE_LEASED:    schemas.BackupLeased_VERB_LEASED,
		schemas.OpenRun_STATE_BACKOFF:   schemas.BackupLeased_VERB_ENDED, // with no status: only the attempt
		schemas.OpenRun_STATE_WITHDRAWN: schemas.BackupLeased_VERB_WITHDRAWN,
		schemas.OpenRun_STATE_JUDGED:    schemas.BackupLeased_VERB_ENDED,
	}[o.GetState()]
	w := word(verb, o.GetRun(), o.GetOrder())
	w.LeasedMs = o.GetLeasedMs()
	w.Status, w.Reason = o.GetStatus(), o.GetReason()
	if verb == schemas.BackupLeased_VERB_LEASED {
		w.WindowBytes, w.Base, w.Check = o.GetWindowBytes(), o.GetBase(), o.GetCheck()
		w.Status = schemas.Status_STATUS_UNSPECIFIED
	}
	return w
}
