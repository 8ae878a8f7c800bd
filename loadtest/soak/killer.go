package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// killer starts the house and ends it, again and again.
type killer struct {
	*world
	rng *rand.Rand
}

// grace is how long the house may take to end in order: two rounds of the runner's
// waiting, and the engine's end.
const grace = 45 * time.Second

// work kills as often as was asked, and returns the life that stands then.
func (k *killer) work(ctx context.Context) (*life, error) {
	end := time.Now().Add(k.limit)
	for {
		l, err := k.process.start()
		if err != nil {
			return nil, err
		}
		last := k.tally.Kills >= k.kills || k.limit > 0 && time.Now().After(end)
		m := draw(k.rng)
		if m.comes == nil && !last && k.tally.Kills > 0 {
			pause(ctx, l, time.Duration(k.rng.Int64N(int64(k.usual()))))
			k.kill(l, m.name)
			continue
		}
		if err := k.process.stands(ctx, l); err != nil {
			return nil, err
		}
		k.book.listen(l, k.heard)
		k.tally.Ready, k.tally.CPU = append(k.tally.Ready, l.took.Seconds()), append(k.tally.CPU, l.cpu.Seconds())
		if last {
			return l, nil
		}
		if err := k.end(ctx, l, m); err != nil {
			return nil, err
		}
	}
}

// usual is about how long a start takes here.
func (k *killer) usual() time.Duration {
	_, last := tenths(k.tally.Ready)
	return time.Duration(max(1, last) * float64(time.Second))
}

// end ends a life that is ready, at its moment.
func (k *killer) end(ctx context.Context, l *life, m moment) error {
	if k.vc != nil && k.rng.IntN(25) == 0 {
		pause(ctx, l, time.Duration(k.rng.Int64N(int64(3*time.Second))))
		if err := k.vc.restart(); err != nil {
			return err
		}
		k.note("the vCenter was started anew")
	}
	if k.rng.IntN(12) == 0 && !k.blind {
		pause(ctx, l, time.Duration(k.rng.Int64N(int64(3*time.Second))))
		if l.killEngine() {
			k.tally.add(&k.tally.Engine)
			k.note("the engine was killed")
		}
	}
	if m.comes == nil { // the first start is let stand
		m = moments[0]
	}
	m.comes(k.world, ctx, l, k.rng)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case k.rng.IntN(20) == 0:
		return k.drained(l)
	case m.term:
		if l.term(time.Duration(k.rng.Int64N(int64(2 * time.Second)))) {
			k.tally.add(&k.tally.Drained)
			return k.ended(l)
		}
	}
	k.kill(l, m.name)
	return nil
}

func (k *killer) drained(l *life) error {
	began := time.Now()
	if !l.term(grace) {
		l.kill(true)
		return fmt.Errorf("a SIGTERM did not end up within %s; see %s", grace, k.process.log)
	}
	k.tally.add(&k.tally.Drained)
	k.tally.DrainS = append(k.tally.DrainS, time.Since(began).Seconds())
	return k.ended(l)
}

func (k *killer) ended(l *life) error {
	if l.err != nil {
		return fmt.Errorf("up ended by SIGTERM with %w; see %s", l.err, k.process.log)
	}
	return nil
}

func (k *killer) kill(l *life, name string) {
	select {
	case <-l.gone:
		k.tally.fault(stuck, "up ended by itself: %v; see %s", l.err, k.process.log)
	default:
	}
	lived, all := time.Since(l.began), k.rng.IntN(2) == 0
	l.kill(all)
	k.tally.Kills++
	k.tally.moment(name)
	n := k.book.counts()
	whole := ""
	if all {
		whole = ", engine and all"
	}
	k.say("kill %3d of %d  %s%s  (up after %.1f s and %.1f of CPU, lived %.1f s); %d completed, %d cancelled, %d restored",
		k.tally.Kills, k.kills, name, whole, l.took.Seconds(), l.cpu.Seconds(), lived.Seconds(), n["completed"], n["cancelled"], n["restored"])
}
