package sealer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// seeds are 8, or as many as SEEDS says.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		return n
	}
	return 8
}

// run gives f a world with a reserve of so many bytes, 0 being the default. It is made
// within the bubble, as are the channels of its sealed area: time stands while one
// from outside is waited for.
func run(t *testing.T, seed uint64, reserve int64, m seal.Method, f func(*world)) {
	t.Helper()
	stagetest.Run(t, seed, Stage(Default(), Deps{}), parts, func(b *stagetest.Bench) {
		w := newWorld(b.T, reserve)
		b.Stage = Stage(Default(), w.deps(m))
		w.b = b
		f(w)
	})
}

// Goal: a committed chunk is in a pack that was told, or was given back; every pack
// that was told reads as a restore reads it; no content key and counter seal twice.
// Method: one to three members join, leave, crash and come back as zombies while
// extents arrive, some of whose blobs are gone or damaged; produces are torn and
// fail. The first is checked after each step, all at the end.
func TestNoChunkIsForgotten(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			run(t, seed, 0, seal.MethodZstd, func(w *world) { churn(w, seed) })
		})
	}
}

func churn(w *world, seed uint64) {
	b := w.b
	b.Weather(0.03)
	up := []*stagetest.Member{b.Join(0.1)}
	for step := range 8 {
		for i := range 6 {
			no := uint64(step*6 + i)
			var chunks [][]byte
			for c := range uint64(1 + b.Rand.IntN(12)) {
				chunk := noise(seed<<32+no<<8+c, 1+b.Rand.IntN(20000))
				if c%2 == 1 {
					chunk = bytes.Repeat(chunk[:1+len(chunk)/20], 15)
				}
				chunks = append(chunks, chunk)
			}
			records := w.extent(b.T, 1+b.Rand.IntN(3), no, 1+b.Rand.IntN(3), chunks...)
			if b.Rand.IntN(8) == 0 {
				if err := w.share.Free(records[0].Blob); err != nil {
					b.T.Fatal(err)
				}
			}
			w.send(records...)
		}
		time.Sleep(time.Duration(b.Rand.Int64N(int64(6 * time.Second))))
		i := b.Rand.IntN(len(up))
		switch k := b.Rand.IntN(5); {
		case k == 0 && len(up) > 1:
			up[i].Leave()
			up = slices.Delete(up, i, i+1)
		case k == 1:
			up[i].Crash()
			up[i] = b.Join(0.1)
		case k == 2: // a zombie: its session ends while it still works
			up[i].Cut()
			time.Sleep(time.Duration(b.Rand.Int64N(int64(20 * time.Second))))
			up[i].Heal()
		case len(up) < 3:
			up = append(up, b.Join(0.1))
		}
		w.noneForgotten(false)
	}
	if !b.Settled(topics.ChunksFresh.Spec) {
		b.Dump(25)
		b.T.Fatalf("still not committed: %v", b.Committed(topics.ChunksFresh.Spec))
	}
	w.noneForgotten(true)
	w.readPacks()
}

func (w *world) settle() {
	w.b.T.Helper()
	if !w.b.Settled(topics.ChunksFresh.Spec) {
		w.b.Dump(25)
		w.b.T.Fatalf("still not committed: %v", w.b.Committed(topics.ChunksFresh.Spec))
	}
}

// A byte that flips in staging after the chunk was named never gets into the vault:
// the chunk is given back, its run is told, and its neighbours are sealed.
func TestFlippedByteIsCaughtBeforeSealing(t *testing.T) {
	run(t, 1, 0, seal.MethodZstd, func(w *world) {
		w.b.Join(0)
		records := w.extent(w.b.T, 1, 0, 2, noise(1, 9000), noise(2, 9000), noise(3, 9000), noise(4, 9000))
		path := filepath.Join(w.share.Dir(), "leases", filepath.FromSlash(records[0].Blob))
		blob, err := os.ReadFile(path)
		if err != nil {
			w.b.T.Fatal(err)
		}
		blob[9000*2+77] ^= 1 // in chunk 2, of the first record
		if err := os.WriteFile(path, blob, 0o600); err != nil {
			w.b.T.Fatal(err)
		}
		w.send(records...)
		w.settle()
		told, lost := w.told()
		bad := where(records[0].Run, 0, 2)
		if len(lost) != 1 || lost[bad] != 1 || len(told) != 3 || told[bad] != 0 {
			w.b.T.Errorf("told %v, lost %v, want %s lost", told, lost, bad)
		}
		faults := stagetest.Read(w.b, topics.BackupsFaulted)
		if len(faults) != 1 || faults[0].Code != "mismatch" || faults[0].Permanent || faults[0].Stage != stageName || !bytes.Equal(faults[0].Run.Lease, uuid(1)) {
			w.b.T.Errorf("faults %v", faults)
		}
		w.readPacks()
	})
}

// After a restart many records come again whose extents were freed. They must cost
// one wait, not one each, and hold up nobody.
func TestMissingBlobsHoldUpNobody(t *testing.T) {
	run(t, 2, 0, seal.MethodZstd, func(w *world) {
		w.b.Join(0)
		w.send(w.extent(w.b.T, 2, 0, 1, noise(99, 500))...)
		w.settle() // the member is up
		for no := range uint64(8) {
			records := w.extent(w.b.T, 1, no, 3, noise(no<<8, 500), noise(no<<8+1, 500), noise(no<<8+2, 500))
			if no > 0 {
				if err := w.share.Free(records[0].Blob); err != nil {
					w.b.T.Fatal(err)
				}
			}
			w.send(records...)
		}
		time.Sleep(packFor + 2*gatherFor)
		if told, lost := w.told(); len(told) != 1+3 || len(lost) != 0 {
			w.b.T.Errorf("after 2.4 s: told %v, lost %v; the extent that is there waits for those that are not", told, lost)
		}
		time.Sleep(8 * time.Second)
		if _, lost := w.told(); len(lost) != 21 {
			w.b.T.Errorf("after 10 s %d places of 21 are given back", len(lost))
		}
		w.settle()
		start := time.Now()
		w.send(w.fresh(1, 1)...)
		time.Sleep(2 * time.Second)
		if _, lost := w.told(); lost[where(&schemas.Run{Lease: uuid(1)}, 1, 1000)] != 2 {
			w.b.T.Errorf("a blob known to be gone is waited for again, %v", time.Since(start))
		}
		for _, f := range stagetest.Read(w.b, topics.BackupsFaulted) {
			if f.Code != "missing" || !strings.Contains(f.Reason, "missing from staging") {
				w.b.T.Errorf("fault %v", f)
			}
		}
	})
}

// Large extents that were freed are waited for all at once, each by one reader, and
// hold up nobody either: each has more groups than there are readers.
func TestLargeMissingBlobsHoldUpNobody(t *testing.T) {
	run(t, 2, 0, seal.MethodZstd, func(w *world) {
		w.b.Join(0)
		w.send(w.extent(w.b.T, 2, 0, 1, noise(99, 500))...)
		w.settle()                                                          // the member is up
		const extents, groups, length = 4, readers + 4, groupBytes * 6 / 10 // no two in one read
		for no := range uint64(extents) {
			r := w.extent(w.b.T, 1, no, 1, noise(no, 500))[0]
			if err := w.share.Free(r.Blob); err != nil {
				w.b.T.Fatal(err)
			}
			r.Refs = &schemas.Refs{}
			for i := range uint32(groups) {
				id := [32]byte{byte(no), byte(i)}
				r.Refs.Ids, r.Refs.Places = append(r.Refs.Ids, id[:]...), append(r.Refs.Places, no*1000+uint64(i))
				r.Refs.Offsets, r.Refs.Lengths = append(r.Refs.Offsets, i*length), append(r.Refs.Lengths, length)
			}
			w.send(r)
		}
		w.send(w.extent(w.b.T, 2, 1, 1, noise(100, 500))...)
		time.Sleep(packFor + 2*gatherFor)
		if told, lost := w.told(); len(told) != 2 || len(lost) != 0 {
			w.b.T.Errorf("after 2.4 s: told %v, lost %d; the extent that is there waits for those that are not", told, len(lost))
		}
		time.Sleep(4 * time.Second)
		if _, lost := w.told(); len(lost) != extents*groups {
			w.b.T.Errorf("after 6.4 s %d places of %d are given back", len(lost), extents*groups)
		}
		w.settle()
	})
}

// fresh is a record of one chunk of an extent that was sent before.
func (w *world) fresh(backup int, extent uint64) []*schemas.ChunksFresh {
	id := [32]byte{}
	return []*schemas.ChunksFresh{{Run: &schemas.Run{Backup: uuid(backup), Attempt: 1, Lease: uuid(backup), Epoch: 1}, Extent: extent,
		Blob: fmt.Sprintf("lease-%d/extent-%d", backup, extent), Refs: &schemas.Refs{Ids: id[:], Places: []uint64{extent * 1000}, Offsets: []uint32{0}, Lengths: []uint32{10}}}}
}

// A record whose chunks lie in two packs is done with the later one, and never more
// than two packs' memory is used while the sealed area is full.
func TestRecordOfTwoPacks(t *testing.T) {
	const mib = 1 << 20
	run(t, 3, 18*mib, seal.MethodRaw, func(w *world) { // room for one pack
		w.b.Join(0)
		var chunks [][]byte
		for i := range uint64(12) {
			chunks = append(chunks, noise(i, mib))
		}
		w.send(w.extent(w.b.T, 1, 0, 1, chunks...)...)
		w.send(w.extent(w.b.T, 2, 0, 1, chunks...)...)
		time.Sleep(time.Minute)
		told, _ := w.told()
		if got := stagetest.Read(w.b, topics.PacksSealed); len(got) != 1 || len(told) != 15 {
			w.b.T.Fatalf("%d packs of %d places, want one of 15, the other waiting for room", len(got), len(told))
		}
		done := int64(0)
		for _, n := range w.b.Committed(topics.ChunksFresh.Spec) {
			done += max(0, n)
		}
		whole := int64(0) // which chunks meet in the first pack is up to the workers
		for _, s := range w.sent {
			if !slices.ContainsFunc(s.places, func(p string) bool { return told[p] == 0 }) {
				whole++
			}
		}
		if done != whole || whole > 1 {
			w.b.T.Fatalf("%d records are committed, want the %d whose chunks are all told", done, whole)
		}
		first := stagetest.Read(w.b, topics.PacksSealed)[0]
		if _, _, err := w.readPack(first); err != nil {
			w.b.T.Error(err)
		}
		if err := w.sealed.Remove(first.Blob); err != nil {
			w.b.T.Fatal(err)
		}
		w.settle()
		w.noneForgotten(true)
		us := uint32(0)
		for _, p := range stagetest.Read(w.b, topics.PacksSealed) {
			for _, x := range p.Extents {
				us += x.ReadUs
			}
		}
		if us != 2 {
			w.b.T.Errorf("read times sum up to %d µs, want those of two records, once each", us)
		}
	})
}

// A record of which a part is lost is told of that part only when all its chunks
// have a fate: those that still wait for room must come again after a crash. Memory
// of packs that wait is not given to others.
func TestHalfLostRecordIsHeld(t *testing.T) {
	const mib = 1 << 20
	run(t, 6, 18*mib, seal.MethodRaw, func(w *world) {
		w.b.Join(0)
		for backup := range 3 { // one pack in the area, one that waits, and 4 MiB more
			var chunks [][]byte
			for i := range uint64(12) {
				chunks = append(chunks, noise(uint64(backup)<<8+i, mib))
			}
			w.send(w.extent(w.b.T, parts+parts*backup, 0, 1, chunks...)...)
		}
		time.Sleep(10 * time.Second)
		half := w.extent(w.b.T, 1, 0, 1, noise(1000, mib), noise(1001, mib))
		if err := os.Truncate(filepath.Join(w.share.Dir(), "leases", filepath.FromSlash(half[0].Blob)), mib); err != nil {
			w.b.T.Fatal(err)
		}
		w.send(half...)
		time.Sleep(30 * time.Second)
		w.noneForgotten(false)
		removed := map[string]bool{}
		for range 4 {
			for _, p := range stagetest.Read(w.b, topics.PacksSealed) {
				if removed[p.Blob] {
					continue
				}
				removed[p.Blob] = true
				if _, _, err := w.readPack(p); err != nil {
					w.b.T.Fatal(err)
				}
				if err := w.sealed.Remove(p.Blob); err != nil {
					w.b.T.Fatal(err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		w.settle()
		w.noneForgotten(true)
		told, lost := w.told()
		if a, b := where(half[0].Run, 0, 0), where(half[0].Run, 0, 1); told[a] != 1 || lost[a] != 0 || told[b] != 0 || lost[b] != 1 {
			w.b.T.Errorf("the first half is told %d times and lost %d, the second told %d and lost %d", told[a], lost[a], told[b], lost[b])
		}
	})
}

// What is held beyond every lease's end is given up: nothing is held silently. When
// there is room again the sealer works on, and the pack of nobody leaves none.
func TestOverdueIsGivenUp(t *testing.T) {
	const mib = 1 << 20
	run(t, 4, 10*mib, seal.MethodRaw, func(w *world) {
		w.b.Join(0)
		send := func(backup int) {
			var chunks [][]byte
			for i := range uint64(6) {
				chunks = append(chunks, noise(i, mib))
			}
			w.send(w.extent(w.b.T, backup, 0, 1, chunks...)...)
			time.Sleep(10 * time.Second)
		}
		send(1)
		send(2)
		time.Sleep(holdMax*5/4 + time.Minute) // the runner looks each quarter of it
		if _, lost := w.told(); len(lost) != 6 {
			w.b.T.Fatalf("%d places of 6 are given up: %v", len(lost), lost)
		}
		w.settle()
		first := stagetest.Read(w.b, topics.PacksSealed)[0]
		if err := w.sealed.Remove(first.Blob); err != nil {
			w.b.T.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := stagetest.Read(w.b, topics.PacksSealed); len(got) != 1 || w.sealed.Bytes() != 0 {
			w.b.T.Errorf("%d packs told, %d bytes in the area; want one and none", len(got), w.sealed.Bytes())
		}
		send(3)
		w.settle()
		if got := stagetest.Read(w.b, topics.PacksSealed); len(got) != 2 {
			w.b.T.Errorf("%d packs told, want two: the sealer stands still", len(got))
		}
	})
}

// False records are refused, and told; the stage goes on.
func TestFalseRecordsAreRefused(t *testing.T) {
	run(t, 5, 0, seal.MethodZstd, func(w *world) {
		w.b.Join(0)
		good := w.extent(w.b.T, 1, 0, 1, noise(1, 100))[0]
		bad := w.fresh(2, 0)[0]
		bad.Refs.Lengths = nil
		w.b.Send(topics.ChunksFresh.Event([]byte("x"), bad))
		w.send(good)
		w.settle()
		w.noneForgotten(true)
		if got := stagetest.ReadRaw(w.b, topics.ChunksFresh.Refused()); len(got) != 1 {
			w.b.T.Errorf("%d records refused, want one", len(got))
		}
	})
}
