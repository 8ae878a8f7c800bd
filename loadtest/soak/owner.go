package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// sender is who we are as the sender of events.
const sender = "/soak"

// owner has some machines, changes them and has them backed up, until rest begins.
// What he asks for he waits for: only then may machines that have no snapshots
// change.
type owner struct {
	*world
	rng      *rand.Rand
	machines []*machine
}

func (o *owner) work(ctx context.Context) error {
	for o.working() {
		for _, m := range o.machines {
			for range o.rng.IntN(12) {
				if err := m.step(); !m.live && err != nil {
					return err
				}
			}
		}
		var asked []*job
		for range 1 + o.rng.IntN(4)/3 { // now and then a second request while the first waits
			j, err := o.ask(ctx)
			if err != nil {
				return err
			}
			if j != nil {
				asked = append(asked, j)
			}
		}
		for _, j := range asked {
			if o.rng.IntN(7) == 0 {
				o.cancel(ctx, j)
			}
		}
		for _, j := range asked {
			if err := o.book.until(ctx, func() bool { return o.book.over(j) }); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Duration(o.rng.IntN(1500)) * time.Millisecond):
		case <-o.resting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// some are machines for one request.
func (o *owner) some() []*machine {
	all := slices.Clone(o.machines)
	o.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+o.rng.IntN(len(all))]
}

// ask asks for a backup, by event or by command, and returns the job; nil if the
// command failed and left no request.
func (o *owner) ask(ctx context.Context) (*job, error) {
	j := &job{machines: o.some(), from: map[string]int{}}
	var names []string
	for _, m := range j.machines {
		// The guest of a vCenter's machine writes on; what it had then is in any
		// snapshot that is taken from now on.
		j.from[m.name] = m.version()
		names = append(names, m.source+"/"+m.id)
	}
	defer o.stir("asked")
	if o.rng.IntN(2) == 0 {
		id := uuid.NewString()
		j.id = schemas.JobID(sender, id)
		o.book.add(j)
		return j, o.publish(ctx, topics.BackupsRequested, id, schemas.BackupRequested{Machines: names, Mode: o.mode()}, j.id.String())
	}
	if _, err := o.process.living(ctx); err != nil {
		return nil, err
	}
	out, err := o.process.holdfast(ctx, append([]string{"backup"}, names...)...)
	if err == nil {
		j.id, err = schemas.ParseUUID(strings.TrimSpace(out))
		o.book.add(j)
		return j, err
	}
	return o.ghost(ctx, j, names)
}

func (o *owner) mode() string {
	if o.rng.IntN(12) == 0 {
		return "full"
	}
	return ""
}

// publish writes an order, with one id, until it is acknowledged.
func (w *world) publish(ctx context.Context, t topics.Raw, id string, data schemas.Public, key string) error {
	e, err := schemas.NewEvent(id, sender, time.Now().UTC(), "", data)
	if err != nil {
		return err
	}
	e.Key = key
	headers, value, err := schemas.EncodeEvent(e)
	if err != nil {
		return err
	}
	for {
		l, err := w.process.living(ctx)
		if err != nil {
			return err
		}
		if l.cl.Publish(l.ctx, t.Event([]byte(key), value, headers)) == nil {
			return nil
		}
		select {
		case <-l.gone: // it died before it could say yes: say it again to the next
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ghost finds out what became of a command that failed: its request may be there.
func (o *owner) ghost(ctx context.Context, j *job, names []string) (*job, error) {
	for {
		l, err := o.process.living(ctx)
		if err != nil {
			return nil, err
		}
		found, err := o.unknown(l, names)
		if err != nil {
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if found == (schemas.UUID{}) {
			return nil, nil
		}
		j.id = found
		o.book.add(j)
		return j, nil
	}
}

// unknown is a request that lies in the topic, names just these machines and is no
// job of ours yet. No other owner asks for them.
func (o *owner) unknown(l *life, names []string) (found schemas.UUID, err error) {
	for rec, err := range l.cl.Read(l.ctx, topics.BackupsRequested.Spec, 0) {
		if err != nil {
			return found, err
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		if err != nil || e.Type != schemas.TypeBackupRequested {
			continue
		}
		v, err := schemas.ReadData[schemas.BackupRequested](e)
		if err != nil || !slices.Equal(v.Machines, names) {
			continue
		}
		id := schemas.JobID(e.Source, e.ID)
		o.book.mu.Lock()
		_, ours := o.book.jobs[id]
		o.book.mu.Unlock()
		if !ours {
			found = id
		}
	}
	return found, nil
}

// cancel ends a job after a moment, by event or by command. A command that fails
// cancels nothing, or does: either is well.
func (o *owner) cancel(ctx context.Context, j *job) {
	o.book.mu.Lock()
	j.cancelled = true
	o.book.mu.Unlock()
	select {
	case <-time.After(time.Duration(o.rng.IntN(1500)) * time.Millisecond):
	case <-ctx.Done():
		return
	}
	if o.rng.IntN(2) == 0 {
		_ = o.publish(ctx, topics.BackupsRequested, uuid.NewString(), schemas.BackupCancel{Job: j.id}, j.id.String()) // only an end of ctx ends it
		return
	}
	if _, err := o.process.living(ctx); err != nil {
		return
	}
	if out, err := o.process.holdfast(ctx, "jobs", "cancel", j.id.String()); err != nil && ctx.Err() == nil {
		o.note("a cancel by command failed, as it may under a kill: %s", firstLine(fmt.Sprint(err, out)))
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
