// Package restorer brings machines back: it reads a point from the vault and
// writes its files below one of the roots that its configuration names, or the
// whole machine into a source.
//
// A restore is a row before it is begun, and its end is a row before it is told;
// so a crash at any line leads to the same files and to one terminal event, told
// as often as need be with the same id. Files lie beside their name until they
// are whole, and a restore that was cut off goes on from what lies there. A machine
// that is half made bears the restore's name, by which whoever finds the row ends it
// before it begins anew.
package restorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// expiry is how old a request may be: a replay of the log must not restore over
// what people did since.
const expiry = 24 * time.Hour

// room is one partition of requests.
type room struct {
	*shared
	at   *stage.Room
	jobs map[string]*job // by restore
}

// job is one restore.
type job struct {
	row     *schemas.RestoreOpen
	begun   bool // it runs beside this room
	resumed bool // another room took it, and may have begun it
}

func (r *room) row(key []byte, row *schemas.RestoreOpen) {
	if row == nil {
		delete(r.jobs, string(key))
		return
	}
	if j := r.jobs[string(key)]; j != nil {
		j.row = row
		return
	}
	r.jobs[string(key)] = &job{row: row, resumed: true}
}

// requested takes one order.
func (r *room) requested(in *stage.In, raw stage.Raw) error {
	e, req, err := read(raw)
	id := schemas.PlaceID(in.Topic, in.Part, in.Offset)
	if e.Named() {
		id = schemas.RestoreID(e.Source, e.ID)
	}
	if j := r.jobs[string(id.Bytes())]; j != nil {
		return nil // a repeat: the row runs, or has told its end
	}
	if err == nil {
		ours, bad, unsure := r.whose(in, req)
		if unsure != nil {
			return unsure
		}
		if !ours {
			r.env.Log.Info("a restore is another region's", "restore", id, "vault", req.Vault)
			return nil
		}
		err = bad
	}
	at := e.Time
	if at.IsZero() {
		at = raw.Time
	}
	if err == nil && r.env.Now().Sub(at) > expiry {
		err = fmt.Errorf("expired: the request is of %s, and none is run after %s", at.UTC().Format(time.RFC3339), expiry)
	}
	if err != nil {
		if err := r.refuse(id, req.Point, err); err != nil {
			return err
		}
		return stage.Refuse(err)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("restore %s: %w", id, err)
	}
	row := &schemas.RestoreOpen{Restore: id.Bytes(), Request: body, Phase: schemas.RestoreOpen_PHASE_RUNNING, SinceMs: r.env.Now().UnixMilli(), Source: e.Source}
	if err := r.put(row); err != nil {
		return err
	}
	j := &job{row: row}
	r.jobs[string(row.Restore)] = j
	r.begin(j)
	return nil
}

func read(raw stage.Raw) (e schemas.Event, req schemas.RestoreRequested, err error) {
	if e, err = schemas.DecodeEvent(raw.Headers, raw.Value); err != nil {
		return e, req, err
	}
	if err = schemas.KnownType(e.Type, schemas.TypeRestoreRequested); err != nil {
		return e, req, err
	}
	req, err = schemas.ReadData[schemas.RestoreRequested](e)
	return e, req, err
}

// tick begins what another room left, tells what was not told, and forgets what is old.
func (r *room) tick(in *stage.In) error {
	now := r.env.Now()
	for key, j := range r.jobs {
		switch {
		case j.row.Phase == schemas.RestoreOpen_PHASE_RUNNING:
			if !j.begun {
				r.begin(j)
			}
		case !j.row.Told:
			if err := r.tell(j.row); err != nil {
				return err
			}
		case now.Sub(time.UnixMilli(j.row.SinceMs)) > r.keep:
			in.Emit(r.to(topics.RestoresOpen.Gone([]byte(key))))
			delete(r.jobs, key)
		}
	}
	return nil
}

// begin runs j beside the room, when a slot is free.
func (r *room) begin(j *job) {
	j.begun = true
	row, resumed := j.row, j.resumed
	r.at.Go(func(ctx context.Context) func() {
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
		case <-ctx.Done():
			return nil
		}
		end := r.run(ctx, row, resumed)
		if ctx.Err() != nil {
			return nil // the next room begins it again
		}
		return func() { r.end(j, end) }
	})
}

// end writes the last word down and then says it.
func (r *room) end(j *job, c schemas.RestoreCompleted) {
	row, err := ended(j.row, c)
	if err == nil {
		if err = r.put(row); err == nil {
			j.row = row
			err = r.tell(row)
		}
	}
	if err != nil {
		j.begun = false // the tick tries again
		r.env.Log.Error("a restore's end is not written down", "restore", c.Restore, "err", err)
	}
}

func ended(row *schemas.RestoreOpen, c schemas.RestoreCompleted) (*schemas.RestoreOpen, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("restore %s: %w", c.Restore, err)
	}
	phase := schemas.RestoreOpen_PHASE_FAILED
	switch c.Status {
	case statusCompleted:
		phase = schemas.RestoreOpen_PHASE_COMPLETED
	case statusRefused:
		phase = schemas.RestoreOpen_PHASE_REFUSED
	}
	return &schemas.RestoreOpen{Restore: row.Restore, Request: row.Request, Phase: phase, Reason: c.Reason,
		SinceMs: row.SinceMs, Bytes: c.Size, Result: body, Source: row.Source}, nil
}

// refuse answers an order that will not be run, with a row of its own, so that a
// repeat is not answered anew with another word.
func (r *room) refuse(id schemas.UUID, point string, why error) error {
	now := r.env.Now()
	row, err := ended(&schemas.RestoreOpen{Restore: id.Bytes(), SinceMs: now.UnixMilli()},
		schemas.RestoreCompleted{Restore: id, Point: point, Status: statusRefused, Reason: why.Error(), DoneAt: now.UTC()})
	if err != nil {
		return err
	}
	if err := r.put(row); err != nil {
		return err
	}
	r.jobs[string(row.Restore)] = &job{row: row}
	return r.tell(row)
}

// tell publishes the last word of a row, and writes down that it is told.
func (r *room) tell(row *schemas.RestoreOpen) error {
	var c schemas.RestoreCompleted
	if err := json.Unmarshal(row.Result, &c); err != nil {
		return fmt.Errorf("restore %s: its last word: %w", schemas.IDText(row.Restore), err)
	}
	e, err := r.event(topics.RestoresCompleted, schemas.CompletedID(c.Restore, c.Status), c.Restore, c)
	if err != nil {
		return err
	}
	if err := r.at.Put(e); err != nil {
		return err
	}
	told := &schemas.RestoreOpen{Restore: row.Restore, Request: row.Request, Phase: row.Phase, Reason: row.Reason,
		SinceMs: row.SinceMs, Bytes: row.Bytes, Result: row.Result, Source: row.Source, Told: true}
	if err := r.put(told); err != nil {
		return err
	}
	if j := r.jobs[string(row.Restore)]; j != nil {
		j.row = told
	}
	return nil
}

func (r *room) event(t topics.Raw, id string, restore schemas.UUID, data schemas.Public) (topics.Event, error) {
	e, err := schemas.NewEvent(id, schemas.EventSource(r.env.Region), r.env.Now().UTC(), restore.String(), data)
	if err != nil {
		return topics.Event{}, err
	}
	headers, value, err := schemas.EncodeEvent(e)
	return t.Event([]byte(restore.String()), value, headers), err
}

// put writes a row in the partition of its request.
func (r *room) put(row *schemas.RestoreOpen) error {
	return r.at.Put(r.to(topics.RestoresOpen.Event(row.Restore, row)))
}

func (r *room) to(e topics.Event) topics.Event { return e.To(r.at.Number) }

var errGone = errors.New("the point is not in the vault")
