package scheduler

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// job is what the intake makes of a request: orders for the scheduler's rooms,
// and refusals for the auditor to say.
type job struct {
	orders   []*schemas.BackupQueued
	refusals []*schemas.BackupLeased
}

// jobOf makes a job of a request at a time. wait is true while sources may still
// come that it means: for listing, from when the record came or the room was
// opened, whichever is later.
func (v *inventory) jobOf(r *request, opened, now time.Time, listing time.Duration) (j job, wait bool) {
	if at := r.options.GetNotAfterMs(); now.UnixMilli() > at {
		return r.refused(fmt.Sprintf("expired: it was not to begin after %s", schemas.MilliTime(at).Format(time.RFC3339))), false
	}
	found := v.resolve(r)
	if (len(found.unknown) > 0 || len(found.machines) == 0) && !v.complete() {
		begin := r.since
		if opened.After(begin) {
			begin = opened
		}
		if now.Before(begin.Add(listing)) {
			return job{}, true
		}
	}
	switch {
	case len(found.machines) == 0:
		return r.refused(found.whyNothing(v)), false
	case len(found.machines) > machinesMax:
		return r.refused(fmt.Sprintf("selects %d machines, at most %d", len(found.machines), machinesMax)), false
	}
	id := &schemas.Job{Id: r.job.Bytes(), Of: uint32(len(found.machines) + len(found.unknown))}
	for _, m := range found.machines {
		j.orders = append(j.orders, &schemas.BackupQueued{Job: id, Backup: schemas.BackupID(r.job, m.GetSource(), m.GetId()).Bytes(),
			Machine: m, Options: r.options, SinceMs: r.since.UnixMilli()})
	}
	for _, u := range found.unknown {
		j.refusals = append(j.refusals, refusedWord(&schemas.BackupQueued{Job: id, Backup: schemas.UnknownID(r.job, u.name).Bytes(),
			Machine: &schemas.Machine{Name: u.name}, Options: r.options, SinceMs: r.since.UnixMilli()}, short(u.why)))
	}
	return j, false
}

// refused is a job that is refused as a whole: its backup is the job itself.
func (r *request) refused(reason string) job {
	q := &schemas.BackupQueued{Job: &schemas.Job{Id: r.job.Bytes()}, Backup: r.job.Bytes(), Options: r.options, SinceMs: r.since.UnixMilli()}
	if len(r.machines) == 1 { // so that the event can be found by what was asked for
		q.Machine = &schemas.Machine{Name: r.machines[0]}
	}
	return job{refusals: []*schemas.BackupLeased{refusedWord(q, short(reason))}}
}
