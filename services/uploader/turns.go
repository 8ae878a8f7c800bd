package uploader

import (
	"context"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// turned is what was last told of a target.
type turned struct {
	vault.Turn
	at time.Time
}

// turns tells of targets that went down or came back, and of all once in a while,
// with the room that is left. A target that hangs is asked beside the room.
func (r *room) turns(*stage.In) error {
	r.at.Go(func(ctx context.Context) func() {
		if !r.asking.TryLock() {
			return nil // another room of this process asks
		}
		defer r.asking.Unlock()
		events := r.news(ctx)
		return func() { r.at.Emit(events...) }
	})
	return nil
}

func (r *room) news(ctx context.Context) (events []topics.Event) {
	now := r.env.Now()
	for n, t := range r.deps.Writer.Turns() {
		last, ok := r.told[t.Target]
		if ok && last.Up == t.Up && last.Quorum == t.Quorum && now.Sub(last.at) < turnsFresh {
			continue
		}
		free, _ := r.deps.Writer.Free(ctx, n)
		events = append(events, topics.TargetsTurned.Event([]byte(t.Target), &schemas.TargetTurned{Target: t.Target, Up: t.Up,
			SinceMs: t.Since.UnixMilli(), Why: t.Why, FreeBytes: uint64(free), Quorum: t.Quorum}))
		r.told[t.Target] = turned{t, now}
	}
	return events
}

// forget has all told again: a room that ended may have lost what it told.
func (s *shared) forget() {
	s.asking.Lock()
	defer s.asking.Unlock()
	clear(s.told)
}
