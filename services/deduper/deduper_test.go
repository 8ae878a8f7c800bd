package deduper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const parts = 3

// seeds is how many worlds to try: SEEDS, or a few.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return 8
}

// bench runs f with a world around a deduper. Each process gets its disk from d:
// pick says which of those that others left, or the last, which is a new one.
func bench(t *testing.T, seed uint64, pick func(n int) int, f func(*world, *disks)) {
	d := &disks{base: t.TempDir(), of: map[string]string{}}
	var w *world
	s := define(Default(), func(env stage.Env) Deps { return Deps{Tables: w, Dir: d.take(env, pick)} })
	stagetest.Run(t, seed, s, parts, func(b *stagetest.Bench) {
		w = newWorld(b, parts)
		f(w, d)
	})
}

func fresh(n int) int { return n - 1 }

// drained lets time pass, and what is sent fresh be stored, until every cut
// record is answered and committed.
func (w *world) drained(fate func(*schemas.ChunksFresh, uint64) byte) {
	w.b.T.Helper()
	for n := range 200 {
		w.work(1<<30, fate)
		time.Sleep(3 * time.Second)
		if n%50 == 49 { // which also does what a broker's session timer would
			w.b.Settled(topics.ChunksCut.Spec)
		}
		committed, ok := w.b.Committed(topics.ChunksCut.Spec), w.work(1<<30, fate) == 0
		for _, p := range w.b.Cluster.PartitionInfos(topics.ChunksCut.In(stagetest.Region)) {
			ok = ok && max(committed[p.Partition], 0) >= p.HighWatermark
		}
		if ok {
			w.check()
			return
		}
	}
	w.b.Dump(15)
	w.b.T.Fatalf("still not committed: %v", w.b.Committed(topics.ChunksCut.Spec))
}

func always(c byte) func(*schemas.ChunksFresh, uint64) byte {
	return func(*schemas.ChunksFresh, uint64) byte { return c }
}

// Goal: what is called known is durable, and not condemned by the epoch that
// judged it; every place is answered before its record is committed. Method:
// backups ask, a storer stores, drops and loses, rows come twice, epochs turn
// and condemn, while members come, go, crash and wake as zombies, with disks that
// are new, current or stale. Checked after each step.
func TestKnownIsDurableAndAllAreAnswered(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			bench(t, seed, rand.New(rand.NewPCG(seed, 77)).IntN, func(w *world, d *disks) {
				b := w.b
				w.turn(func(vault.PackID) bool { return false })
				var up, cut []*stagetest.Member
				names := map[*stagetest.Member]string{}
				end := func(m *stagetest.Member, how func(*stagetest.Member)) {
					how(m)
					d.give(names[m])
				}
				for step := range 12 {
					if len(up) == 0 || b.Rand.IntN(3) == 0 {
						m := b.Join(0.1)
						names[m] = fmt.Sprint("member-", len(names)+1)
						up = append(up, m)
					} else {
						i := b.Rand.IntN(len(up))
						m := up[i]
						switch b.Rand.IntN(4) {
						case 0:
							end(m, (*stagetest.Member).Leave)
							up = append(up[:i], up[i+1:]...)
						case 1:
							end(m, (*stagetest.Member).Crash)
							up = append(up[:i], up[i+1:]...)
						case 2:
							m.Cut()
							up, cut = append(up[:i], up[i+1:]...), append(cut, m)
						}
					}
					if b.Rand.IntN(3) == 0 {
						if err := d.old(b.Rand.IntN); err != nil {
							t.Fatal(err)
						}
					}
					for range 6 {
						chunks := make([]int, 1+b.Rand.IntN(8))
						for i := range chunks {
							chunks[i] = b.Rand.IntN(60)
						}
						w.ask(b.Rand.IntN(6), 1+b.Rand.IntN(2), b.Rand.Uint64N(1000), chunks...)
					}
					time.Sleep(time.Duration(b.Rand.IntN(8000)) * time.Millisecond)
					w.work(b.Rand.IntN(60), func(*schemas.ChunksFresh, uint64) byte { return "sssssssddl"[b.Rand.IntN(10)] })
					w.repeat()
					if b.Rand.IntN(3) == 0 {
						w.turn(func(vault.PackID) bool { return b.Rand.IntN(2) == 0 })
					}
					w.repeat()
					for _, m := range cut {
						if b.Rand.IntN(2) == 0 {
							m.Heal()
							up = append(up, m)
						} else {
							end(m, (*stagetest.Member).Crash)
						}
					}
					cut = cut[:0]
					if w.check(); step == 6 {
						b.Weather(0.02)
					}
				}
				b.Weather(0)
				for _, m := range up {
					end(m, (*stagetest.Member).Leave)
				}
				b.Join(0)
				w.drained(always('s'))
			})
		})
	}
}

// Goal: fifty clones store one copy, and one that is cancelled stalls none.
// Method: 50 backups ask for the same disk, interleaved; the storer is seconds
// late. The bytes of the first, who claims most, go away in the middle.
func TestClonesStoreOneCopy(t *testing.T) {
	bench(t, 1, fresh, func(w *world, _ *disks) {
		w.turn(func(vault.PackID) bool { return false })
		w.b.Join(0)
		const clones, extents, each = 50, 6, 20
		for extent := range extents {
			for clone := range clones {
				chunks := make([]int, each)
				for i := range chunks {
					chunks[i] = extent*each + i
				}
				w.ask(clone, 1, uint64(extent), chunks...)
			}
			time.Sleep(time.Second)
			w.work(each/2, always('s'))
		}
		cancelled := string(uuid(0))
		begun := time.Now()
		w.drained(func(f *schemas.ChunksFresh, _ uint64) byte {
			if string(f.Run.Backup) == cancelled {
				return 'd'
			}
			return 's'
		})
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("all were answered after %s: a cancelled clone stalled them", took)
		}
		if len(w.stored) != extents*each {
			t.Errorf("%d of %d chunks are stored", len(w.stored), extents*each)
		}
		for id, n := range w.stored {
			if n != 1 {
				t.Errorf("chunk %s is stored %d times", id, n)
			}
		}
	})
}

// A cut of an epoch whose marks are not seen here waits for them, and is sent
// fresh if they never come.
func TestCutWaitsForItsEpoch(t *testing.T) {
	bench(t, 1, fresh, func(w *world, _ *disks) {
		w.turn(func(vault.PackID) bool { return false })
		w.b.Join(0)
		w.ask(1, 1, 1, 1, 2, 3)
		w.drained(always('s'))
		w.epoch = 2 // leased, but nobody told the deduper
		w.ask(2, 1, 1, 1, 2, 3)
		time.Sleep(time.Minute)
		if known := stagetest.Read(w.b, topics.ChunksKnown); len(known) != 0 {
			t.Fatalf("judged without its epoch: %v", known)
		}
		w.control(2)
		w.drained(always('s'))
		places := 0
		for _, k := range stagetest.Read(w.b, topics.ChunksKnown) {
			if places += len(k.Places.Places); k.Judged != 2 {
				t.Errorf("judged by %d", k.Judged)
			}
		}
		if places != 3 {
			t.Errorf("%d of 3 places known", places)
		}
		w.epoch = 3
		w.ask(3, 1, 1, 1, 2, 3)
		time.Sleep(holdMax + holdMax/2)
		if w.check(); !w.b.Settled(topics.ChunksCut.Spec) {
			t.Error("an epoch that never comes is waited for without end")
		}
	})
}
