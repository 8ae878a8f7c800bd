package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
)

// A target that is down costs 5 failures, then one question in 10 s, and packs go
// on without it and at once. It comes back by itself, without a put.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		var turns []string
		w := r.writer(func(turn Turn) {
			turns = append(turns, fmt.Sprintf("%s up=%v quorum=%v", turn.Target, turn.Up, turn.Quorum))
		})
		bad := r.faults[1].Down(true)
		before := bad.Calls()
		for range 20 {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			<-landed.Done()
		}
		if n := bad.Calls() - before; n != breakerFailures {
			t.Errorf("%d calls to a target that is down", n)
		}
		before, start := bad.Calls(), time.Now()
		time.Sleep(time.Minute - time.Second)
		if n := bad.Calls() - before; n < 5 || n > 6 {
			t.Errorf("%d probes in a minute", n)
		}
		landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
		r.must(err)
		if <-landed.Done(); time.Since(start) > time.Minute {
			t.Error("a pack waited for a target that is down")
		}
		if turn := w.Turns()[1]; turn.Up || !strings.Contains(turn.Why, "target is down") || !turn.Quorum {
			t.Errorf("%+v", turn)
		}
		bad.Down(false)
		time.Sleep(probeEvery)
		synctest.Wait()
		if turn := w.Turns()[1]; !turn.Up || turn.Why != "" {
			t.Errorf("it is back, and %+v", turn)
		}
		if landed, err = w.Pack(t.Context(), NewPackID(1), false, noise(1, 100)); err != nil {
			t.Fatal(err)
		}
		if <-landed.Done(); landed.Redundancy() != 4 {
			t.Errorf("redundancy %d with all targets back", landed.Redundancy())
		}
		if len(turns) != 2 || !strings.HasPrefix(turns[0], "t1 up=false quorum=true") || !strings.HasPrefix(turns[1], "t1 up=true quorum=true") {
			t.Errorf("turns %q", turns)
		}
	})
}

// One full target: no retry cures that, so its breaker opens at the first answer.
func TestFullTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		before := r.faults[3].Full(true).Calls()
		w := r.writer(nil)
		for range 3 {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			<-landed.Done()
		}
		if n := r.faults[3].Calls() - before; n != 1 {
			t.Errorf("a full target was asked %d times", n)
		}
		if turn := w.Turns()[3]; turn.Up || !strings.Contains(turn.Why, "full") {
			t.Errorf("%+v", turn)
		}
		// Its store knows no free space, so it is asked by a put, and only by one.
		before = r.faults[3].Calls()
		time.Sleep(probeEvery + time.Second)
		for range 5 {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			<-landed.Done()
		}
		if n := r.faults[3].Calls() - before; n != 2+1 || w.Turns()[3].Up {
			t.Errorf("%d calls to a full target: want a probe of 2 and a put", n)
		}
		r.free()
		time.Sleep(probeEvery + time.Second)
		if !w.Turns()[3].Up {
			t.Error("it has room again, and is still left alone")
		}
	})
}

// stubborn takes no packs, whatever else it says.
type stubborn struct {
	blob.Store
	refused atomic.Int32
}

func (s *stubborn) Put(ctx context.Context, key string, body ...[]byte) error {
	if strings.HasPrefix(key, packsDir) {
		s.refused.Add(1)
		return errors.New("no packs here")
	}
	return s.Store.Put(ctx, key, body...)
}

// A target that comes back by what it says and not by what it does costs one
// failure for each probe, not five.
func TestBreakerHalfTrusts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		bad := &stubborn{Store: r.stores[3]}
		r.targets[3].Store = bad
		r.open()
		w := r.writer(nil)
		for range 60 {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			<-landed.Done()
			time.Sleep(time.Second)
		}
		if n := bad.refused.Load(); n < breakerFailures+3 || n > breakerFailures+6 {
			t.Errorf("%d puts were refused in a minute", n)
		}
	})
}

// A target that hangs is waited for 30 s, or 64 younger packs, then owed; its
// breaker opens, so that later packs don't wait. What it was given is still whole
// when it goes on, an hour later.
func TestTargetThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		w := r.writer(nil)
		r.faults[3].Hang(true)
		packs := map[PackID][]byte{}
		put := func() *Landed {
			id, data := NewPackID(1), noise(byte(len(packs)), 5000)
			packs[id] = data
			landed, err := w.Pack(t.Context(), id, false, data)
			r.must(err)
			return landed
		}
		began := time.Now()
		first := put()
		if <-first.Done(); time.Since(began) != stragglersMax || first.Redundancy() != 3 {
			t.Errorf("waited %s for a target that hangs; redundancy %d", time.Since(began), first.Redundancy())
		}
		began = time.Now()
		old := put()
		for i := range youngerPacks {
			select {
			case <-old.Done():
				t.Fatalf("owed after %d younger", i)
			default:
			}
			put()
		}
		if <-old.Done(); time.Since(began) > time.Second {
			t.Errorf("waited %s in spite of %d younger", time.Since(began), youngerPacks)
		}
		time.Sleep(putMax)
		synctest.Wait()
		if turn := w.Turns()[3]; turn.Up || !strings.Contains(turn.Why, "no answer") {
			t.Errorf("%+v", turn)
		}
		began = time.Now()
		if <-put().Done(); time.Since(began) > 0 {
			t.Errorf("waited %s for a target whose breaker is open", time.Since(began))
		}
		time.Sleep(time.Hour)
		r.free()
		time.Sleep(time.Minute)
		whole := 0
		for id, data := range packs {
			if r.holds(id, data) == 4 {
				whole++
			}
		}
		if whole > lanePlaces+1 {
			t.Errorf("%d puts were under way on one target", whole)
		}
		if !w.Turns()[3].Up {
			t.Error("it answers, and is still left alone")
		}
	})
}

// A target that was down at the start, or whose share is not mounted, gets nothing
// until it shows that it is ours.
func TestUnprovenTargetGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		kept := r.targets[3].Store
		empty := blobtest.NewFaulty(r.stores[3], 1).Down(true)
		r.targets[3].Store = empty
		var keys []string
		for i, err := range kept.List(t.Context(), "") {
			r.must(err)
			keys = append(keys, i.Key)
		}
		r.open()
		for _, k := range keys {
			r.must(r.stores[3].Delete(t.Context(), k))
		}
		empty.Down(false)
		w := r.writer(nil)
		landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
		r.must(err)
		<-landed.Done()
		time.Sleep(time.Minute)
		if turn := w.Turns()[3]; turn.Up || !strings.Contains(turn.Why, "no target of this vault") {
			t.Errorf("%+v", turn)
		}
		for i := range empty.List(t.Context(), "") {
			t.Errorf("a folder that is not ours got %s", i.Key)
		}
		r.must(r.stores[3].Put(t.Context(), settingsKey, r.v.slots[3].want)) // mounted
		time.Sleep(probeEvery)
		synctest.Wait()
		if turn := w.Turns()[3]; !turn.Up {
			t.Errorf("it is mounted, and %+v", turn)
		}
	})
}
