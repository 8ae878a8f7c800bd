package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/shard"
)

// writer is closed with the test, so that virtual time sees no one left.
func (r *rig) writer(turn func(Turn)) *Writer {
	r.t.Helper()
	w, err := NewWriter(r.v, WriterOptions{Region: "local", Log: slog.New(slog.DiscardHandler), OnTurn: turn})
	r.must(err)
	r.t.Cleanup(w.Close)
	return w
}

func (r *rig) free() {
	for _, f := range r.faults {
		f.Hang(false)
		f.Down(false).Full(false).Lose(0).Ghost(0).Slow(0)
	}
}

// holds is the shards of a pack that lie on the targets, each checked; the pack is
// rebuilt from each choice of k that the caller wants to lose m of.
func (r *rig) holds(id PackID, data []byte) (n int) {
	r.t.Helper()
	shards := make([][]byte, len(r.stores))
	for i, s := range r.stores {
		b, err := s.Get(context.Background(), ShardKey(id, false, uint8(i), 0), 0, -1)
		if err != nil {
			continue
		}
		h, err := shard.ParseHeader(b)
		if err == nil {
			err = h.Check(b[shard.HeaderBytes:])
		}
		if err != nil || h.Pack != id.Key() || int(h.N) != i || h.Length != uint64(len(data)) {
			r.t.Errorf("pack %s: shard %d: %+v, %v", id, i, h, err)
			continue
		}
		shards[i] = b[shard.HeaderBytes:]
		n++
	}
	if n < r.v.K {
		return n
	}
	c, err := shard.New(r.v.K, r.v.M)
	r.must(err)
	for first := range n - r.v.K + 1 { // lose as many as may be, in turn
		some, lost := slices.Clone(shards), 0
		for i := range some {
			if j := (i + first) % len(some); len(some[j]) > 0 && lost < n-r.v.K {
				some[j], lost = nil, lost+1
			}
		}
		r.must(c.Rebuild(some))
		got, err := c.Join(nil, some, len(data))
		if err != nil || !bytes.Equal(got, data) {
			r.t.Errorf("pack %s is not what was put: %v", id, err)
		}
	}
	return n
}

// Puts are lost, or done and their answer lost, and all are slow; the process dies
// at a moment drawn from the seed, and another puts the same packs again. What was
// said to be landed is on a quorum, every shard is whole, and in the end all are
// there. In virtual time.
func TestPackSurvivesLostAnswers(t *testing.T) {
	bubble(t, 40, func(t *testing.T, seed uint64) {
		r := newRig(t, 2, 2, seed)
		packs := map[PackID][]byte{}
		for i := range 12 {
			packs[NewPackID(1)] = noise(byte(i), 1000+i)
		}
		for life := range 3 {
			for _, f := range r.faults {
				f.Slow(2 * time.Second).Lose(0.25).Ghost(0.25)
			}
			w := r.writer(nil)
			if life == 0 { // dies at once, in the midst of it
				time.AfterFunc(time.Duration(seed)*97*time.Millisecond, w.Close)
			}
			done := make(chan PackID, len(packs))
			for id, data := range packs {
				go func() {
					landed, err := w.Pack(t.Context(), id, false, data)
					if err == nil {
						if n := r.holds(id, data); n < landed.Redundancy() || landed.Redundancy() < 3 {
							t.Errorf("pack %s landed with %d shards, on %d targets", id, landed.Redundancy(), n)
						}
						<-landed.Done()
					} else if life != 0 {
						t.Errorf("pack %s: %v", id, err)
					}
					done <- id
				}()
			}
			for range packs {
				<-done
			}
			w.Close()
			synctest.Wait()
		}
		for id, data := range packs {
			if n := r.holds(id, data); n < 3 {
				t.Errorf("pack %s is on %d targets in the end", id, n)
			}
		}
	})
}

// Every set of targets that are down, for codes with and without parity: a pack
// lands if a quorum is left; else it waits, as long as its context, and lands when
// one more is back. The sink is said to be down then, and only then.
func TestQuorum(t *testing.T) {
	for _, km := range [][2]int{{1, 0}, {3, 0}, {1, 1}, {2, 1}, {2, 2}} {
		for down := range 1 << (km[0] + km[1]) {
			t.Run(fmt.Sprintf("%d+%d without %b", km[0], km[1], down), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { quorum(t, km[0], km[1], down) })
			})
		}
	}
}

func quorum(t *testing.T, k, m, down int) {
	r := newRig(t, k, m, uint64(down))
	up := k + m
	for i, f := range r.faults {
		if f.Slow(time.Second).Down(down>>i&1 == 1); down>>i&1 == 1 {
			up--
		}
	}
	w := r.writer(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	data := noise(1, 10_001)
	id := NewPackID(1)
	landed, err := w.Pack(ctx, id, false, data)
	enough := up >= min(k+1, k+m)
	if enough != (err == nil) {
		t.Fatalf("%d are up: %v", up, err)
	}
	if n := r.holds(id, data); n > up || enough && n < r.v.Quorum() {
		t.Errorf("%d shards lie on %d targets", n, up)
	}
	if enough {
		<-landed.Done()
		if landed.Redundancy() != up {
			t.Errorf("redundancy %d of %d that are up", landed.Redundancy(), up)
		}
		return
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait: %v", err)
	}
	for i, turn := range w.Turns() {
		if turn.Quorum || turn.Up == (down>>i&1 == 1) {
			t.Errorf("%d are up, and %+v", up, turn)
		}
	}
	time.AfterFunc(time.Hour, r.free)
	if landed, err = w.Pack(t.Context(), id, false, data); err != nil {
		t.Fatalf("the targets are back: %v", err)
	}
	<-landed.Done()
	if n := r.holds(id, data); n != k+m && n != landed.Redundancy() {
		t.Errorf("%d shards, said to be %d", n, landed.Redundancy())
	}
}

// Stragglers that answer within their time count.
func TestStragglersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 5)
		w := r.writer(nil)
		r.faults[0].Slow(20 * time.Second)
		for range 20 {
			began := time.Now()
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			if time.Since(began) > 0 || landed.Redundancy() != 3 {
				t.Fatalf("landed after %s with %d", time.Since(began), landed.Redundancy())
			}
			if <-landed.Done(); landed.Redundancy() != 4 || time.Since(began) > 20*time.Second {
				t.Fatalf("done after %s with %d", time.Since(began), landed.Redundancy())
			}
		}
	})
}

// Bytes that were lent go back at the quorum, though a target hangs: but for those
// that its store was given and may still read. Each pack is 24 MiB, and 64 may wait.
func TestLentBytesGoBackAtTheQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		w := r.writer(nil)
		r.faults[3].Hang(true)
		var back atomic.Int32
		const n = 40
		for range n {
			_, err := w.PackLent(t.Context(), NewPackID(1), false, noise(1, 5000), nil, func() { back.Add(1) })
			r.must(err)
		}
		synctest.Wait()
		if got := back.Load(); got < n-lanePlaces {
			t.Errorf("%d of %d packs are back, and at most %d hang in the store", got, n, lanePlaces)
		}
		r.free()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := back.Load(); got != n {
			t.Errorf("%d of %d packs are back in the end", got, n)
		}
	})
}

func TestSmallPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		w := r.writer(nil)
		ctx := t.Context()
		for range 2 { // the same twice
			r.must(w.Small(ctx, "points/1/x", []byte("body")))
		}
		for i, s := range r.stores {
			if _, err := s.Stat(ctx, "points/1/x"); err != nil {
				t.Errorf("aim is all targets; %d: %v", i, err)
			}
		}
		if err := w.Small(ctx, "points/1/x", []byte("other")); !errors.Is(err, ErrConflict) {
			t.Errorf("other bytes: %v", err)
		}
		r.faults[0].Down(true)
		r.must(w.Small(ctx, "points/1/y", []byte("body")))
		r.faults[1].Down(true)
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if err := w.Small(ctx, "points/1/z", []byte("body")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("on %d of %d targets: %v", 2, 3, err)
		}
		time.AfterFunc(time.Hour, r.free)
		r.must(w.Small(t.Context(), "points/1/z", []byte("body")))
	})
}

// Answers that are lost: an object that was put without our knowing counts. A
// target with another object of the name is told of, though m+1 others took ours.
func TestSmallPutSurvivesLostAnswers(t *testing.T) {
	bubble(t, 30, func(t *testing.T, seed uint64) {
		r := newRig(t, 2, 2, seed)
		stale := int(seed % 4)
		r.must(r.stores[stale].Put(t.Context(), "points/1/bad", []byte("stale")))
		for _, f := range r.faults {
			f.Slow(time.Second).Lose(0.3).Ghost(0.3)
		}
		w := r.writer(nil)
		r.must(w.Small(t.Context(), "points/1/x", []byte("body")))
		n := 0
		for _, s := range r.stores {
			if _, err := s.Stat(t.Context(), "points/1/x"); err == nil {
				n++
			}
		}
		if n < 3 {
			t.Errorf("on %d targets", n)
		}
		for _, f := range r.faults {
			f.Lose(0).Ghost(0).Slow(smallGrace / 2) // a put, and a get to compare
		}
		if err := w.Small(t.Context(), "points/1/bad", []byte("body")); !errors.Is(err, ErrConflict) {
			t.Errorf("another object of this name is there: %v", err)
		}
	})
}

func TestWriterRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 1)
		if _, err := NewWriter(r.v, WriterOptions{Region: "elsewhere"}); err == nil || !strings.Contains(err.Error(), `belongs to region "local"`) {
			t.Errorf("a writer of another region: %v", err)
		}
		w := r.writer(nil)
		if _, err := w.Pack(t.Context(), NewPackID(1), false, nil); err == nil {
			t.Error("an empty pack was put")
		}
		if err := w.Small(t.Context(), "no such/key", nil); err == nil || !strings.Contains(err.Error(), "bad object key") {
			t.Errorf("a bad key: %v", err)
		}
		w.Close()
		if _, err := w.Pack(t.Context(), NewPackID(1), false, []byte("x")); err == nil {
			t.Error("a closed writer put a pack")
		}
		r.targets = r.targets[:2]
		r.open()
		if _, err := NewWriter(r.v, WriterOptions{Region: "local"}); !errors.Is(err, errNotConfigured) {
			t.Errorf("a writer without all targets: %v", err)
		}
	})
}
