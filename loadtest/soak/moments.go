package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// moment is when the house is killed.
type moment struct {
	name   string
	weight int
	// comes waits for it, in a life that is ready; nil: during the start itself.
	comes func(w *world, ctx context.Context, l *life, rng *rand.Rand)
	term  bool // a SIGTERM goes before, and the kill falls into the drain
}

// moments: half of them any, half where a promise is easiest to break.
var moments = []moment{
	{name: "at any time", weight: 36, comes: func(_ *world, ctx context.Context, l *life, rng *rand.Rand) {
		pause(ctx, l, 200*time.Millisecond+time.Duration(rng.Int64N(int64(5800*time.Millisecond))))
	}},
	{name: "during a start", weight: 10},
	{name: "during a drain", weight: 7, term: true, comes: func(_ *world, ctx context.Context, l *life, rng *rand.Rand) {
		pause(ctx, l, time.Duration(rng.Int64N(int64(4*time.Second))))
	}},
	{name: "after an order", weight: 10, comes: func(w *world, ctx context.Context, l *life, rng *rand.Rand) {
		w.stirred(ctx, l, "asked")
		pause(ctx, l, time.Duration(rng.Int64N(int64(300*time.Millisecond))))
	}},
	{name: "after an order to restore", weight: 6, comes: func(w *world, ctx context.Context, l *life, rng *rand.Rand) {
		w.stirred(ctx, l, "restore")
		pause(ctx, l, time.Duration(rng.Int64N(int64(500*time.Millisecond))))
	}},
	{name: "as an end is told", weight: 9, comes: func(w *world, ctx context.Context, l *life, rng *rand.Rand) {
		w.stirred(ctx, l, "told")
		if rng.IntN(2) == 0 {
			pause(ctx, l, time.Duration(rng.Int64N(int64(20*time.Millisecond))))
		}
	}},
	{name: "with extents in staging", weight: 7, comes: when("staging/leases/*/*")},
	{name: "with packs in the sealed area", weight: 7, comes: when("staging/sealed/*/e*")},
	{name: "as a pack is put", weight: 6, comes: when("vault/t1/packs/*/*/*")},
	{name: "as a map pack is put", weight: 4, comes: when("vault/t1/maps/*/*/*")},
	{name: "as a point is put", weight: 9, comes: when("vault/t1/points/*/*/*")},
	{name: "with a snapshot open", weight: 6, comes: func(w *world, ctx context.Context, l *life, rng *rand.Rand) {
		w.look(ctx, l, func() bool { return w.vc != nil && len(w.snapshotsOpen()) > 0 })
		pause(ctx, l, time.Duration(rng.Int64N(int64(200*time.Millisecond))))
	}},
}

// draw chooses a moment by its weight.
func draw(rng *rand.Rand) moment {
	sum := 0
	for _, m := range moments {
		sum += m.weight
	}
	for n := rng.IntN(sum); ; {
		for _, m := range moments {
			if n -= m.weight; n < 0 {
				return m
			}
		}
	}
}

const (
	// mostWait is how long a moment is waited for; then any is as good.
	mostWait = 6 * time.Second
	// often is how long is waited between two looks.
	often = 5 * time.Millisecond
)

// when waits until more files lie there than now, and then an instant or none.
func when(pattern string) func(*world, context.Context, *life, *rand.Rand) {
	return func(w *world, ctx context.Context, l *life, rng *rand.Rand) {
		count := func() int {
			all, _ := filepath.Glob(filepath.Join(w.process.data, pattern)) // the pattern is sound
			return len(all)
		}
		before := count()
		w.look(ctx, l, func() bool { return count() > before })
		if rng.IntN(2) == 0 {
			pause(ctx, l, time.Duration(rng.Int64N(int64(60*time.Millisecond))))
		}
	}
}

// look asks every few milliseconds.
func (w *world) look(ctx context.Context, l *life, f func() bool) {
	for end := time.Now().Add(mostWait); !f() && time.Now().Before(end) && ctx.Err() == nil; {
		if !pause(ctx, l, often) {
			return
		}
	}
}

// stir says that something began which a kill may fall into.
func (w *world) stir(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stirs[what]++
}

// stirred waits until that begins once more.
func (w *world) stirred(ctx context.Context, l *life, what string) {
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.stirs[what]
	}
	before := count()
	w.look(ctx, l, func() bool { return count() > before })
}

// pause waits, and says whether neither ctx nor the life ended.
func pause(ctx context.Context, l *life, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.gone:
	case <-ctx.Done():
	}
	return false
}
