package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func (r *rig) lay(target int, key string, n int) {
	r.t.Helper()
	r.must(r.stores[target].Put(r.t.Context(), key, make([]byte, n)))
}

// Shards laid out at random over the targets, in generations, among strangers'
// objects: the walk yields each pack once, with all and only its shards, births
// of any length mixed. A target that fails in its midst is left out and named.
func TestPacksListsWhatIsThere(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			r := newRig(t, 2, 2, seed)
			want := map[PackID][]string{}
			for range 30 {
				id := NewPackID([]uint64{1, 2, 9, 10, 100}[rng.IntN(5)])
				for n := range 4 {
					for gen := range rng.IntN(3) { // none, g0, or g0 and g1
						r.lay(n, ShardKey(id, false, uint8(n), uint8(gen)), 10*n+gen)
						want[id] = append(want[id], fmt.Sprintf("%d.g%d on %d of %d", n, gen, n, 10*n+gen))
					}
				}
			}
			for i, key := range []string{"packs/x", "packs/1/short/0.g0", "packs/1/00000000000000000000000000000000/0.g00",
				"packs/01/00000000000000000000000000000000/0.g0", "packs/1/00000000000000000000000000000000/256.g0"} {
				r.lay(i%4, key, 1)
			}
			r.lay(0, ShardKey(NewPackID(1), true, 0, 0), 1) // a map pack
			for _, f := range r.faults {
				f.Slow(20 * time.Millisecond).Lose(0.01) // a target that begins anew too slowly is left out
			}
			l := r.v.Packs(false)
			got := map[PackID][]string{}
			for p := range l.All(t.Context()) {
				if got[p.ID] != nil {
					t.Errorf("seed %d: pack %s comes twice", seed, p.ID)
				}
				different := map[uint8]bool{}
				for i, s := range p.Shards {
					got[p.ID] = append(got[p.ID], fmt.Sprintf("%d.g%d on %d of %d", s.N, s.Gen, s.Target, s.Size))
					if different[s.N] = true; i > 0 && s.N == p.Shards[i-1].N && s.Gen >= p.Shards[i-1].Gen {
						t.Errorf("seed %d: generations of pack %s in the order %v", seed, p.ID, p.Shards)
					}
				}
				if p.Sound() != len(different) {
					t.Errorf("seed %d: %d different shards in %v", seed, p.Sound(), p.Shards)
				}
			}
			if l.Err() != nil {
				t.Fatalf("seed %d: %v", seed, l.Err())
			}
			for id := range want {
				slices.Sort(want[id])
				if slices.Sort(got[id]); !slices.Equal(got[id], want[id]) {
					t.Errorf("seed %d: pack %s is listed as %q, want %q", seed, id, got[id], want[id])
				}
			}
			if len(got) != len(want) {
				t.Errorf("seed %d: %d packs, want %d", seed, len(got), len(want))
			}
		})
	}
}

// What is not listed is missing only where the target was listed to its end.
func TestPacksWithoutTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		id := NewPackID(1)
		for n := range 4 {
			r.lay(n, ShardKey(id, true, uint8(n), 0), 1)
		}
		for down := range 5 {
			for i, f := range r.faults {
				f.Down(i < down)
			}
			l := r.v.Packs(true)
			var got []Listed
			for p := range l.All(t.Context()) {
				got = append(got, p)
			}
			for i := range 4 {
				if (l.Down(i) != nil) != (i < down) {
					t.Errorf("%d are down; target %d: %v", down, i, l.Down(i))
				}
			}
			if down <= 2 && (l.Err() != nil || len(got) != 1 || got[0].ID != id || got[0].Sound() != 4-down) {
				t.Errorf("%d are down: %v, %v", down, got, l.Err())
			}
			if down > 2 && (!errors.Is(l.Err(), ErrTooFew) || len(got) != 0) {
				t.Errorf("%d are down: %v, %v", down, got, l.Err())
			}
		}
	})
}

// The newest epoch, by number and not by name, and never a marker's.
func TestEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1, 1)
		w := r.writer(nil)
		for _, key := range []string{"epochs/2", "epochs/9", "epochs/10", "epochs/11.closing", "epochs/012", "epochs/x", "epochs/9.closed"} {
			r.must(w.Small(t.Context(), key, []byte(key)))
		}
		r.faults[0].Down(true)
		if n, err := r.v.Epoch(t.Context()); n != 10 || err != nil {
			t.Errorf("newest epoch %d, %v", n, err)
		}
		r.faults[1].Down(true)
		if _, err := r.v.Epoch(t.Context()); !errors.Is(err, ErrTooFew) {
			t.Errorf("two targets are down: %v", err)
		}
	})
}
