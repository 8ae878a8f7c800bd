package vault

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/rate"
)

// counted sees what is put on a target, and when.
type counted struct {
	blob.Store
	mu   sync.Mutex
	puts []struct {
		at time.Time
		n  int
	}
}

func (c *counted) Put(ctx context.Context, key string, body ...[]byte) error {
	c.mu.Lock()
	n := 0
	for _, b := range body {
		n += len(b)
	}
	if strings.HasPrefix(key, packsDir) {
		c.puts = append(c.puts, struct {
			at time.Time
			n  int
		}{time.Now(), n})
	}
	c.mu.Unlock()
	return c.Store.Put(ctx, key, body...)
}

// sum is how many bytes were put; at no time more than the rate, and one put.
func (c *counted) sum(t *testing.T, r rate.Rate) (all int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.puts {
		sum := 0
		for j := i; j < len(c.puts) && j < i+50; j++ {
			if took := c.puts[j].at.Sub(c.puts[i].at).Seconds(); float64(sum) > float64(r)*took+1 {
				t.Fatalf("%d bytes in %.3f s and one put more, at %v", sum, took, r)
			}
			sum += c.puts[j].n
		}
		all += c.puts[i].n
	}
	return all
}

// limited is a rig of 4+2 whose last targets are limited. A shard takes 4 s at slow,
// as one of 4 MiB does at 1 MiB/s.
func limited(t *testing.T, rates ...rate.Rate) (r *rig, w *Writer, seen []*counted) {
	r = newRig(t, 4, 2, 1)
	limits := map[string]*rate.Limiter{}
	for i, x := range rates {
		n := 6 - len(rates) + i
		c := &counted{Store: r.targets[n].Store}
		r.targets[n].Store = c
		seen = append(seen, c)
		limits[r.targets[n].Name] = rate.New(rate.Plan{Rate: x})
	}
	r.open()
	w, err := NewWriter(r.v, WriterOptions{Region: "local", Log: slog.New(slog.DiscardHandler), Limits: limits,
		OnTurn: func(t2 Turn) { t.Errorf("a limit of ours is taken for a failure: %+v", t2) }})
	r.must(err)
	t.Cleanup(w.Close)
	return r, w, seen
}

const (
	slow     rate.Rate = 4 << 10
	packSize           = 64 << 10
)

// One target of six is limited to a twelfth of what comes, for four minutes. No pack
// waits for it and its breaker stays closed; it gets all that its limit allows, without
// a burst; of the others its shards are owed. What is held for it is bounded: no more
// records than there are seats and places, and no pack's bytes beside its shard's.
func TestOneTargetIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, seen := limited(t, slow)
		var mu sync.Mutex
		var held, lent, most, mostLent int
		packs := map[PackID][]byte{}
		begun := time.Now()
		for time.Since(begun) < 4*time.Minute {
			id, data := NewPackID(1), noise(byte(len(packs)), packSize)
			packs[id] = data
			mu.Lock()
			held, lent = held+1, lent+1
			mu.Unlock()
			now := time.Now()
			landed, err := w.PackLent(t.Context(), id, false, data, nil, func() { mu.Lock(); lent--; mu.Unlock() })
			r.must(err)
			if took := time.Since(now); took > 0 || landed.Redundancy() < 5 {
				t.Fatalf("landed after %v with %d", took, landed.Redundancy())
			}
			go func() { <-landed.Done(); mu.Lock(); held--; mu.Unlock() }()
			time.Sleep(time.Second / 3)
			mu.Lock()
			most, mostLent = max(most, held), max(mostLent, lent)
			mu.Unlock()
		}
		if most > seats+lanePlaces || mostLent > lanePlaces {
			t.Errorf("%d records and %d packs are held for a target that is limited", most, mostLent)
		}
		time.Sleep(time.Minute)
		sum := seen[0].sum(t, slow)
		if took := time.Since(begun).Seconds(); float64(sum) < 0.9*float64(slow)*(took-30) {
			t.Errorf("%d bytes in %.0f s at %d a second: the limit is not used", sum, took, slow)
		}
		whole := 0
		for id, data := range packs {
			if n := r.holds(id, data); n < 5 {
				t.Errorf("%d shards", n)
			} else if n == 6 {
				whole++
			}
		}
		if whole != len(seen[0].puts) {
			t.Errorf("%d packs are whole, and %d shards were put", whole, len(seen[0].puts))
		}
		if held != 0 || lent != 0 {
			t.Errorf("%d records, %d packs are held in the end", held, lent)
		}
	})
}

// Two of six are limited, so the quorum needs one of them: packs land as fast as the
// faster one's limit lets them, none fails, and a point beside them is not late.
func TestTheQuorumIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, seen := limited(t, slow, 4*slow)
		var all sync.WaitGroup
		begun := time.Now()
		for range 8 {
			all.Go(func() {
				for range 30 {
					_, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, packSize))
					r.must(err)
				}
			})
		}
		time.Sleep(time.Minute)
		now := time.Now()
		r.must(w.Small(t.Context(), "points/1/x", []byte("body")))
		if took := time.Since(now); took > 0 {
			t.Errorf("a point took %v", took)
		}
		all.Wait()
		took := time.Since(begun).Seconds()
		if shard := float64(packSize/4 + 100); took < 240*shard/float64(4*slow)-10 || took > 240*shard/float64(4*slow)+40 {
			t.Errorf("240 packs landed in %.0f s", took)
		}
		if a, b := seen[0].sum(t, slow), seen[1].sum(t, 4*slow); a < b/5 {
			t.Errorf("the slower one got %d bytes, the other %d", a, b)
		}
	})
}

// A shard that takes longer at the limit than anyone waits for a straggler: one
// still passes each time that the one before is paid off.
func TestTheLimitIsBelowAllPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, seen := limited(t, slow/20) // 80 s a shard
		begun := time.Now()
		for time.Since(begun) < time.Hour {
			_, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, packSize))
			r.must(err)
			time.Sleep(10 * time.Second)
		}
		if sum := seen[0].sum(t, slow/20); float64(sum) < 0.9*3600*float64(slow/20) {
			t.Errorf("%d bytes in an hour at %d a second", sum, slow/20)
		}
	})
}

// Map packs beside packs, on a target that is limited to less than either: none is
// held for it, for windows of all exporters drain through eight of them at a time; it
// gets many of them, and no burst of them.
func TestMapPacksPassALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, seen := limited(t, slow)
		begun := time.Now()
		for i := 0; time.Since(begun) < 4*time.Minute; i++ {
			_, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, packSize))
			r.must(err)
			now := time.Now()
			landed, err := w.Pack(t.Context(), NewPackID(1), true, noise(1, packSize/8))
			r.must(err)
			if <-landed.Done(); time.Since(now) > 0 {
				t.Fatalf("a map pack is held for %v", time.Since(now))
			}
			time.Sleep(time.Second)
		}
		if sum := seen[0].sum(t, slow); float64(sum) > 0.7*240*float64(slow) || float64(sum) < 0.3*240*float64(slow) {
			t.Errorf("%d bytes of packs in 4 minutes at %d a second, of which map packs took half", sum, slow)
		}
	})
}

// A target that goes down while loads wait for its limit is owed them at once.
func TestALimitedTargetGoesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, 2, 1)
		w, err := NewWriter(r.v, WriterOptions{Region: "local", Log: slog.New(slog.DiscardHandler),
			Limits: map[string]*rate.Limiter{"t5": rate.New(rate.Plan{Rate: slow})}})
		r.must(err)
		defer w.Close()
		var last *Landed
		for range 10 {
			last, err = w.Pack(t.Context(), NewPackID(1), false, noise(1, packSize))
			r.must(err)
		}
		r.faults[5].Full(true) // the next put opens its breaker
		begun := time.Now()
		if <-last.Done(); time.Since(begun) > 5*time.Second || w.Turns()[5].Up {
			t.Errorf("held for %v by a target that is %+v", time.Since(begun), w.Turns()[5])
		}
	})
}
