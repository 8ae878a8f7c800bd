package blobtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Errors that a Faulty makes. Both are weather.
var (
	ErrLost  = errors.New("fault: not done")
	ErrGhost = errors.New("fault: done, and the answer lost")
	ErrDown  = errors.New("fault: target is down")
)

// Faulty is a store whose answers can't be relied on. In virtual time it must be
// slow as well, or bugs pass unseen. Its switches may be set at any time.
type Faulty struct {
	s blob.Store

	mu          sync.Mutex
	rng         *rand.Rand
	lost, ghost float64
	slow        time.Duration
	down, full  bool
	hung        chan struct{} // not nil: calls wait for it, and listen to nobody
	calls       int
}

// NewFaulty wraps s. The same seed and order of calls give the same faults.
func NewFaulty(s blob.Store, seed uint64) *Faulty {
	return &Faulty{s: s, rng: rand.New(rand.NewPCG(seed, 0))}
}

func (f *Faulty) set(change func()) *Faulty {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	return f
}

// Lose makes calls fail without effect, with this probability.
func (f *Faulty) Lose(p float64) *Faulty { return f.set(func() { f.lost = p }) }

// Ghost makes calls fail after they had their effect, with this probability.
func (f *Faulty) Ghost(p float64) *Faulty { return f.set(func() { f.ghost = p }) }

// Slow makes each call take a time up to d.
func (f *Faulty) Slow(d time.Duration) *Faulty { return f.set(func() { f.slow = d }) }

// Down makes every call fail at once.
func (f *Faulty) Down(down bool) *Faulty { return f.set(func() { f.down = down }) }

// Full makes puts of new objects fail with blob.ErrFull.
func (f *Faulty) Full(full bool) *Faulty { return f.set(func() { f.full = full }) }

// Hang makes calls wait until it is called with false, whatever becomes of their
// contexts, as on a hard mount.
func (f *Faulty) Hang(hang bool) *Faulty {
	return f.set(func() {
		if f.hung != nil {
			close(f.hung)
			f.hung = nil
		}
		if hang {
			f.hung = make(chan struct{})
		}
	})
}

// Calls is how many calls there were.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// call draws the fate of one call, and waits as long as it is slow.
func (f *Faulty) call(ctx context.Context, op, key string, do func(context.Context) error) error {
	f.mu.Lock()
	f.calls++
	var wait time.Duration
	if f.slow > 0 {
		wait = time.Duration(f.rng.Int64N(int64(f.slow)))
	}
	lost, ghost := f.rng.Float64() < f.lost, f.rng.Float64() < f.ghost
	down, hung := f.down, f.hung
	f.mu.Unlock()
	if hung != nil {
		<-hung
		ctx = context.WithoutCancel(ctx) // what hung in the kernel is done when it goes on
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op, key, context.Cause(ctx))
		}
	}
	switch {
	case down:
		return fmt.Errorf("%s %s: %w", op, key, ErrDown)
	case lost:
		return fmt.Errorf("%s %s: %w", op, key, ErrLost)
	}
	if err := do(ctx); err != nil || !ghost {
		return err
	}
	return fmt.Errorf("%s %s: %w", op, key, ErrGhost)
}

func (f *Faulty) Put(ctx context.Context, key string, body ...[]byte) error {
	return f.call(ctx, "put", key, func(ctx context.Context) error {
		f.mu.Lock()
		full := f.full
		f.mu.Unlock()
		if _, err := f.s.Stat(ctx, key); full && errors.Is(err, blob.ErrNotExist) {
			return fmt.Errorf("put %s: %w", key, blob.ErrFull)
		}
		return f.s.Put(ctx, key, body...)
	})
}

func (f *Faulty) Get(ctx context.Context, key string, off, n int64) (b []byte, err error) {
	err = f.call(ctx, "get", key, func(ctx context.Context) error { b, err = f.s.Get(ctx, key, off, n); return err })
	return b, err
}

func (f *Faulty) Stat(ctx context.Context, key string) (i blob.Info, err error) {
	err = f.call(ctx, "stat", key, func(ctx context.Context) error { i, err = f.s.Stat(ctx, key); return err })
	return i, err
}

func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.call(ctx, "delete", key, func(ctx context.Context) error { return f.s.Delete(ctx, key) })
}

func (f *Faulty) Free(ctx context.Context) (int64, bool) { return f.s.Free(ctx) }

// List may fail before each object.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for i, err := range f.s.List(ctx, prefix) {
			if err == nil {
				err = f.call(ctx, "list", prefix, func(context.Context) error { return nil })
			}
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}
