package exporter

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// marksPerHunt bounds how many strange snapshots of one source a room removes in
// one hunt: each removal works the source's storage, and if a table was lost, and
// all of them are strange, the machines must not all be stunned at once.
const marksPerHunt = 4

// prey is a snapshot that bears our mark, at a source.
type prey struct{ source, machine, name string }

// asked is a source's answer about its marks. All rooms of a process hunt at the
// same hour: one of them asks.
type asked struct {
	turn chan struct{} // a lock that is held over the network
	at   time.Time
	all  []source.Mark
	fail error
}

// marksOf asks a source once an hour at most, or takes what another room heard.
func (s *shared) marksOf(ctx context.Context, name string, m source.Marked) ([]source.Mark, error) {
	s.mu.Lock()
	a := s.marks[name]
	if a == nil {
		a = &asked{turn: make(chan struct{}, 1)}
		s.marks[name] = a
	}
	s.mu.Unlock()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if now := s.env.Now(); a.at.IsZero() || now.Sub(a.at) >= s.hunt/2 {
		a.all, a.fail = m.Marks(ctx)
		a.at = now
		if ctx.Err() != nil {
			a.at = time.Time{} // our room ended; the others must hear more than that
		}
	}
	return a.all, a.fail
}

// stalk looks for snapshots of this room's backups that no row knows: a table that
// was lost forgets what it began, and the source does not.
func (r *room) stalk(now time.Time) {
	for name, p := range r.deps.Sources {
		m, ok := p.Source.(source.Marked)
		if !ok {
			continue
		}
		r.at.Go(func(ctx context.Context) func() {
			all, err := r.marksOf(ctx, name, m)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				r.env.Log.Error("look for snapshots that nobody knows", "source", name, "err", err)
				return nil
			}
			return func() { r.spot(name, p, all, now) }
		})
	}
}

// spot takes what a source has, and removes what was strange an hour ago and is
// still.
func (r *room) spot(name string, p Provider, all []source.Mark, now time.Time) {
	seen := map[prey]bool{}
	var due []prey
	for _, m := range all {
		k := prey{name, m.Machine, m.Name}
		if !r.strangeMark(m.Name) {
			continue
		}
		seen[k] = true
		since, known := r.marked[k]
		switch {
		case !known:
			r.marked[k] = now
			r.env.Log.Warn("a snapshot that bears our mark belongs to no open backup: it is removed if that is so in the next hunt",
				"source", name, "machine", m.Machine, "snapshot", m.Name, "made", m.Since)
		case now.Sub(since) >= r.hunt:
			due = append(due, k)
		}
	}
	for k := range r.marked {
		if k.source == name && !seen[k] {
			delete(r.marked, k)
		}
	}
	if over := len(due) - marksPerHunt; over > 0 {
		r.env.Log.Warn("more strange snapshots than a hunt removes: the others wait for the next", "source", name, "left", over)
		due = due[:marksPerHunt]
	}
	if len(due) == 0 {
		return
	}
	r.at.Go(func(ctx context.Context) func() {
		for _, k := range due {
			r.bury(ctx, p, k)
		}
		return nil
	})
}

// bury ends what a lost lease left. What fails is still there in the next hunt.
func (r *room) bury(ctx context.Context, p Provider, k prey) {
	log := r.env.Log.With("source", k.source, "machine", k.machine, "snapshot", k.name)
	log.Warn("remove a snapshot of a lease that nobody knows")
	if err := p.Source.End(ctx, source.Order{Machine: k.machine, Name: k.name}); err != nil && ctx.Err() == nil {
		log.Error("remove a snapshot of a lease that nobody knows", "err", err)
	}
}

// strangeMark reports whether a snapshot's name is one of this room, and no lease's.
func (r *room) strangeMark(name string) bool {
	rest, ok := strings.CutPrefix(name, snapshotMark)
	if !ok || len(rest) != 2*uuidLen+1 || rest[uuidLen] != '-' {
		return false
	}
	backup, err := schemas.ParseUUID(rest[:uuidLen])
	if err != nil || topics.KeyPart(backup[:], r.at.Of) != r.at.Number {
		return false
	}
	lease, err := schemas.ParseUUID(rest[uuidLen+1:])
	return err == nil && !r.knows(backup, lease)
}
