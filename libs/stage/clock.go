package stage

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxRetry is how long a failing input rests at most before its next attempt.
const maxRetry = time.Minute

// beat calls b and plans the next call.
func (m *Room) beat(b beat) {
	in := &In{Context: m.ctx, Part: m.Number, room: m}
	if m.watched(in, b.trying, func() error { return b.do(in) }) == nil {
		m.mem.emit(m.ctx, m.mem.records(m.mem.fitting(in.emits), in.origin()), m.failIf)
	}
	m.after(b.every, func() { m.beat(b) })
}

// overdue shows l the old holds and plans the next look.
func (m *Room) overdue(l late) {
	var old []*Hold
	m.mu.Lock()
	for _, f := range m.feeds {
		old = append(old, f.overdue(l.age)...)
	}
	m.mu.Unlock()
	shown := map[*Hold]bool{}
	for _, h := range old {
		if !shown[h] {
			shown[h] = true
			m.mem.run.tell(Note{Kind: Late, Part: m.Number})
			l.do(h)
		}
	}
	m.after(l.age/4, func() { m.overdue(l) })
}

func (m *Room) after(d time.Duration, f func()) { time.AfterFunc(d, func() { m.Post(f) }) }

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

// patience doubles from 100 ms to limit, with jitter, and never gives up.
func patience(limit time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMultiplier(2), backoff.WithMaxInterval(limit), backoff.WithMaxElapsedTime(0))
}
