package scheduler

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// job is what the intake makes of a request: orders for the scheduler's rooms,
// and refusals for the auditor to say.
type job struct {
	orders   []order
	refusals []*schemas.BackupLeased
	others   string // how many names are other regions'
}

// order is a machine's part of a job, for the region that has it.
type order struct {
	region string
	*schemas.BackupQueued
}

// when is what waiting is reckoned from.
type when struct {
	opened, now time.Time
	listing     time.Duration
	// fresh reports whether every region that there is was met. It is asked only where
	// somebody would be refused for a machine that nobody has.
	fresh func() bool
}

// jobOf makes a job of a request at a time. wait is true while sources may still come
// that it means.
func (v *inventory) jobOf(r *request, at when) (j job, wait bool) {
	if notAfter := r.options.GetNotAfterMs(); at.now.UnixMilli() > notAfter {
		return r.refused(fmt.Sprintf("expired: it was not to begin after %s", schemas.MilliTime(notAfter).Format(time.RFC3339))), false
	}
	found := v.resolve(r)
	if len(found.unknown) > 0 || len(found.machines) == 0 {
		fresh := at.fresh() // asked first, so that the one is not waited for behind the other
		if v.awaits(r.since, at.opened, at.now, at.listing) || !fresh {
			return job{}, true
		}
	}
	switch {
	case len(found.machines) == 0:
		return r.refused(found.whyNothing(v, r.region)), false
	case len(found.machines) > machinesMax:
		return r.refused(fmt.Sprintf("selects %d machines, at most %d", len(found.machines), machinesMax)), false
	}
	j.others = found.whose()
	id := &schemas.Job{Id: r.job.Bytes(), Of: uint32(len(found.machines) + len(found.unknown))}
	for _, m := range found.machines {
		j.orders = append(j.orders, order{m.region, &schemas.BackupQueued{Job: id, Backup: schemas.BackupID(r.job, m.machine.GetSource(), m.machine.GetId()).Bytes(),
			Machine: m.machine, Options: r.options, SinceMs: r.since.UnixMilli()}})
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
