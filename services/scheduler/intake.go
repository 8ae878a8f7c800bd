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
// the scheduler's room, to which each goes by its source, in the region that has it.
// One intake serves all regions, because only who knows every machine can say that a
// name is nobody's.
type intake struct {
	room      *stage.Room
	now       func() time.Time
	log       *slog.Logger
	regions   *stage.Regions // nil: our own
	opened    time.Time
	listing   time.Duration
	tried     tried
	inventory *inventory
	policies  map[string]takenPolicy // by name
	region    string
	vault     string // empty: any
}

func newIntake(c Config, env stage.Env, r *stage.Room) *intake {
	return &intake{room: r, now: env.Now, log: env.Log, regions: env.Regions, opened: env.Now(), listing: c.Listing, inventory: newInventory(),
		policies: map[string]takenPolicy{}, region: env.Region, vault: c.Vault}
}

func (i *intake) found(region string, key []byte, row *schemas.MachineFound) {
	now := i.now()
	i.inventory.region(region, now).take(string(key), row, now)
}

// turned hears that a region is there, is read, or is gone.
func (i *intake) turned(g stage.Region) {
	if g.Gone {
		delete(i.inventory.regions, g.Name)
		i.log.Info("the intake leaves a region", "region", g.Name)
		return
	}
	at := i.inventory.region(g.Name, i.now())
	at.parts, at.read = g.Parts(topics.BackupsQueued.Spec), g.Read
}

// tried is the record that was tried last, and when that was first.
type tried struct {
	offset int64
	at     time.Time
}

// known is how old the list of regions may be, when a record comes, by which a name in
// it is nobody's: a region is born with its topics, and it takes its exporter longer than
// this to list a machine.
const known = time.Second

// fresh reports whether all regions were met that there were when a record came.
func (i *intake) fresh(offset int64) bool {
	if i.regions == nil {
		return true
	}
	now := i.now()
	if i.tried.offset != offset || i.tried.at.IsZero() {
		i.tried = tried{offset, now}
	}
	if !i.regions.Fresh(now.Sub(i.tried.at) + known) {
		return false
	}
	for _, name := range i.regions.Names() {
		if i.inventory.regions[name] == nil {
			return false
		}
	}
	return true
}

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
	j, wait := i.inventory.jobOf(r, when{i.opened, i.now(), i.listing, func() bool { return i.fresh(in.Offset) }})
	if wait {
		return fmt.Errorf("job %s means machines that are not known yet: waiting for the first listing of a source", r.job)
	}
	i.log.Info("job", "job", r.job, "backups", len(j.orders), "refused", len(j.refusals), "of_other_regions", j.others)
	for _, q := range j.orders {
		q.Traceparent = in.Trace()
		in.Emit(topics.BackupsQueued.Event([]byte(q.GetMachine().GetSource()), q.BackupQueued).For(q.region))
	}
	for _, e := range words(j.refusals) {
		in.Emit(e)
	}
	return nil
}

// cancel goes to every room of every region: a job may have machines of all sources.
func (i *intake) cancel(in *stage.In, r *request) {
	order := topics.BackupsQueued.Event(r.cancel.Bytes(), &schemas.BackupQueued{Job: &schemas.Job{Id: r.cancel.Bytes()}, Cancel: true, SinceMs: r.since.UnixMilli()})
	for _, g := range i.inventory.regions {
		for p := range g.parts {
			in.Emit(order.For(g.name).To(p))
		}
	}
}
