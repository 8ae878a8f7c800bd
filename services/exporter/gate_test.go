package exporter

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// storage answers in its own time, and the more are asked at once, the later: as
// disks do once they are busy.
type storage struct {
	mu    sync.Mutex
	busy  int
	most  int
	alone time.Duration
	reads int
}

func (s *storage) read() {
	s.mu.Lock()
	s.busy++
	s.most = max(s.most, s.busy)
	took := s.alone * time.Duration(s.busy)
	s.mu.Unlock()
	time.Sleep(took)
	s.mu.Lock()
	s.busy--
	s.reads++
	s.mu.Unlock()
}

// Twelve readers of a storage that bears six within the limit: they keep near it, use
// what it bears, go back to one where not even that is fast enough, and all come back
// when others leave it alone. Who gives up while it waits takes no place along.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storage{alone: 5 * time.Millisecond}
		g := newGate(30*time.Millisecond, 12, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				for ctx.Err() == nil {
					mine, leave := context.WithTimeout(ctx, time.Duration(i+1)*10*time.Millisecond)
					if g.enter(mine) == nil {
						begun := time.Now()
						s.read()
						g.leave(time.Since(begun))
					}
					leave()
				}
			})
		}
		look := func(alone, settle time.Duration, from, to int) {
			t.Helper()
			s.mu.Lock()
			s.alone = alone
			s.mu.Unlock()
			time.Sleep(settle)
			s.mu.Lock()
			s.most = 0
			s.mu.Unlock()
			for range 60 {
				time.Sleep(time.Second)
				if w := int(g.widthNow()); w < from || w > to {
					t.Fatalf("%d reads at once of a storage that takes %v for one, want %d to %d", w, alone, from, to)
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.most < from || s.most > to {
				t.Errorf("%d reads were under way at once, want %d to %d", s.most, from, to)
			}
		}
		look(5*time.Millisecond, 20*time.Second, 3, 8)
		look(100*time.Millisecond, 30*time.Second, 1, 1)
		look(time.Millisecond, 30*time.Second, 12, 12)
		look(15*time.Millisecond, 20*time.Second, 1, 3)
		stop()
		all.Wait()
		if g.busy != 0 || len(g.line) != 0 {
			t.Errorf("%d in, %d in line", g.busy, len(g.line))
		}
	})
}
