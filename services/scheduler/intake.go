package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// intake reads requests. Their keys are not ours: other clients hash otherwise,
// so a machine's requests may come in any partition, and what orders them is
// the scheduler's room, to which each goes by its source.
type intake struct {
	room      *stage.Room
	now       func() time.Time
	log       *slog.Logger
	parts     int32 // of backups.queued
	opened    time.Time
	listing   time.Duration
	inventory *inventory
	policies  map[string]takenPolicy // by name
	region    string
	vault     string // empty: any
}

func newIntake(c Config, env stage.Env, r *stage.Room, parts int32) *intake {
	return &intake{room: r, now: env.Now, log: env.Log, parts: parts, opened: env.Now(), listing: c.Listing, inventory: newInventory(),
		policies: map[string]takenPolicy{}, region: env.Region, vault: c.Vault}
}

func (i *intake) found(key []byte, row *schemas.MachineFound) { i.inventory.take(string(key), row) }

// requested makes a job of one record. What nobody can understand is told as
// refused, like any backup, and kept beside the topic for who wants to mend it.
func (i *intake) requested(in *stage.In, raw stage.Raw) error {
	e, err := schemas.DecodeEvent(raw.Headers, raw.Value)
	r := &request{job: schemas.PlaceID(topics.BackupsRequested.Name, in.Part, in.Offset), since: raw.Time}
	switch {
	case err == nil:
		r, err = readRequest(e, raw.Time)
	case e.Named(): // its sender knows the job's id, and will look for its answer
		r.job = schemas.JobID(e.Source, e.ID)
	}
	if err != nil {
		why := short(err.Error())
		if err := i.room.Put(words(r.refused(why).refusals)...); err != nil {
			return err
		}
		return stage.Refuse(errors.New(why))
	}
	if !r.cancel.IsZero() {
		i.cancel(in, r)
		return nil
	}
	j, wait := i.inventory.jobOf(r, i.opened, i.now(), i.listing)
	if wait {
		return fmt.Errorf("job %s means machines that are not known yet: waiting for the first listing of a source", r.job)
	}
	i.log.Info("job", "job", r.job, "backups", len(j.orders), "refused", len(j.refusals))
	for _, q := range j.orders {
		q.Traceparent = in.Trace()
		in.Emit(topics.BackupsQueued.Event([]byte(q.GetMachine().GetSource()), q))
	}
	for _, e := range words(j.refusals) {
		in.Emit(e)
	}
	return nil
}

// cancel goes to every room: a job may have machines of all sources.
func (i *intake) cancel(in *stage.In, r *request) {
	order := topics.BackupsQueued.Event(r.cancel.Bytes(), &schemas.BackupQueued{Job: &schemas.Job{Id: r.cancel.Bytes()}, Cancel: true, SinceMs: r.since.UnixMilli()})
	for p := range i.parts {
		in.Emit(order.To(p))
	}
}
