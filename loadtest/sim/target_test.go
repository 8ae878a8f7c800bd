//go:build synctests

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
)

// target is one of the vault's targets as it really is.
type target struct {
	name  string
	store *mem.Store

	mu          sync.Mutex
	rng         *rand.Rand
	lost, ghost float64
	slow        time.Duration
	down, full  bool
	twice       []string // objects put again with other bytes
}

func newTarget(name string, seed uint64) *target {
	return &target{name: name, store: mem.New(), rng: rand.New(rand.NewPCG(seed, 5))}
}

func (t *target) set(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// lane is a target as one process reaches it.
type lane struct {
	*target
	p *process
}

var _ blob.Store = lane{}

// call is one call to the target. What was asked before the process died may be
// done, and is never told.
func (l lane) call(ctx context.Context, what string, do func(context.Context) error) error {
	l.p.still()
	l.mu.Lock()
	wait := time.Duration(l.rng.Float64() * float64(l.slow))
	lost, ghost, reached := l.rng.Float64() < l.lost, l.rng.Float64() < l.ghost, l.rng.IntN(2) == 0
	l.mu.Unlock()
	if l.p.isDead() {
		return errDead
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if reached {
				do(context.WithoutCancel(ctx))
			}
			return fmt.Errorf("%s at %s: %w", what, l.name, context.Cause(ctx))
		}
	}
	l.p.still()
	l.mu.Lock()
	down := l.down
	l.mu.Unlock()
	switch {
	case down || lost:
		return fmt.Errorf("%s at %s: lost: %w", what, l.name, errWeather)
	case l.p.isDead():
		if reached {
			do(ctx)
		}
		return errDead
	}
	if err := do(ctx); err != nil || !ghost {
		return err
	}
	return fmt.Errorf("%s at %s: done, and not heard: %w", what, l.name, errWeather)
}

func (l lane) Put(ctx context.Context, key string, body ...[]byte) error {
	return l.call(ctx, "put "+key, func(ctx context.Context) error {
		l.mu.Lock()
		full := l.full
		l.mu.Unlock()
		there, err := l.store.Get(ctx, key, 0, -1)
		switch {
		case err == nil && !bytes.Equal(there, bytes.Join(body, nil)):
			l.set(func() { l.twice = append(l.twice, key) })
		case full && errors.Is(err, blob.ErrNotExist):
			return fmt.Errorf("put %s at %s: %w", key, l.name, blob.ErrFull)
		}
		return l.store.Put(ctx, key, body...)
	})
}

func (l lane) Get(ctx context.Context, key string, off, n int64) (b []byte, err error) {
	err = l.call(ctx, "get "+key, func(ctx context.Context) error { b, err = l.store.Get(ctx, key, off, n); return err })
	return b, err
}

func (l lane) Stat(ctx context.Context, key string) (i blob.Info, err error) {
	err = l.call(ctx, "stat "+key, func(ctx context.Context) error { i, err = l.store.Stat(ctx, key); return err })
	return i, err
}

func (l lane) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := l.call(ctx, "list "+prefix, func(context.Context) error { return nil }); err != nil {
			yield(blob.Info{}, err)
			return
		}
		l.store.List(ctx, prefix)(yield)
	}
}

func (l lane) Delete(ctx context.Context, key string) error {
	return l.call(ctx, "delete "+key, func(ctx context.Context) error { return l.store.Delete(ctx, key) })
}

func (l lane) Free(ctx context.Context) (int64, bool) { return l.store.Free(ctx) }
