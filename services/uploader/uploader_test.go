//go:build synctests

package uploader

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Thirty packs; targets that lose puts or their answers; uploaders that are
// killed at moments drawn from the seed, up to two at once. At each moment: what
// is committed is known, landed and on a quorum of targets; a sealed file that is
// gone belongs to a record that is committed. In the end all of it is, nothing was
// told as lost, and the sealed area is empty, but for what a commit covered whose
// uploader was killed before it could remove it: that is the sealer's to sweep.
func TestCrashLosesNoPack(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			run(t, seed, func(w *world) {
				w.join(0.15, 0.15, 2*time.Second)
				orphans := map[*sent]bool{}
				for range 6 {
					w.send(5)
					time.Sleep(time.Duration(w.b.Rand.Int64N(int64(12 * time.Second))))
					if len(w.up) < 2 || w.b.Rand.IntN(2) == 0 {
						w.join(0.15, 0.15, 2*time.Second)
					}
					time.Sleep(time.Duration(w.b.Rand.Int64N(int64(12 * time.Second))))
					w.crash(w.up[w.b.Rand.IntN(len(w.up))])
					committed := w.b.Committed(topics.PacksSealed.Spec)
					for _, p := range w.packs {
						orphans[p] = orphans[p] || committed[p.at.Part] > p.at.Offset && !w.gone(p)
					}
					w.consistent()
					if len(w.up) == 0 {
						w.join(0.15, 0.15, 2*time.Second)
					}
				}
				if !w.b.Settled(topics.PacksSealed.Spec) {
					w.b.Dump(40)
					t.Fatal("never committed")
				}
				time.Sleep(2 * time.Second) // what follows a commit
				w.consistent()
				for _, p := range w.packs {
					if !w.gone(p) && !orphans[p] {
						t.Errorf("pack %s stays in the sealed area", p.id)
					}
				}
				if f, d := stagetest.Read(w.b, topics.BackupsFaulted), stagetest.Read(w.b, topics.ChunksDropped); len(f)+len(d) > 0 {
					t.Errorf("told as lost: %v %v", f, d)
				}
			})
		})
	}
}

// Targets that answer at once, so that nothing but the log holds a record, over a
// wire that breaks: an uploader that is killed between its answer and the log's
// word must not have committed.
func TestAnswerIsInTheLogBeforeTheCommit(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			run(t, seed, func(w *world) {
				for range 4 {
					p := w.join(0, 0.5, 0)
					for range 8 {
						w.send(2)
						time.Sleep(time.Duration(w.b.Rand.Int64N(int64(time.Second))))
					}
					w.crash(p)
					w.consistent()
				}
			})
		})
	}
}

// consistent checks what must be true at every moment.
func (w *world) consistent() {
	w.t.Helper()
	var gone []*sent
	for _, p := range w.packs {
		if w.gone(p) {
			gone = append(gone, p)
		}
	}
	committed := w.b.Committed(topics.PacksSealed.Spec) // read after, and it only rises
	log := w.read()
	for _, p := range gone {
		if committed[p.at.Part] <= p.at.Offset {
			w.t.Errorf("the sealed file of pack %s is gone, its record at %d is not committed", p.id, p.at.Offset)
		}
	}
	for _, p := range w.packs {
		if committed[p.at.Part] <= p.at.Offset {
			continue
		}
		if !log.told(p) {
			w.t.Errorf("pack %s is committed, and not all of it is known and landed", p.id)
		}
		if n := w.shards(p); n < 3 {
			w.t.Errorf("pack %s is committed, and on %d targets", p.id, n)
		}
	}
}

// A sealed file that is gone, short or flipped: the attempts are faulted, each
// claim is given back in its partition, nothing is stored, and the record is done.
func TestLostPacks(t *testing.T) {
	run(t, 1, func(w *world) {
		w.send(5)
		w.must(w.sealed.Remove(w.packs[0].msg.Blob))
		flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		for i, change := range []func([]byte) []byte{flip, func(b []byte) []byte { return b[:len(b)-1] }, flip} {
			p := w.packs[i+1]
			b, err := w.sealed.Read(p.msg.Blob, nil)
			w.must(err)
			w.must(w.sealed.Remove(p.msg.Blob))
			ref, err := w.sealed.Put(context.Background(), p.id.String(), change(b))
			w.must(err)
			if ref != p.msg.Blob {
				t.Fatalf("put again as %s", ref)
			}
		}
		w.join(0, 0, time.Second)
		if !w.b.Settled(topics.PacksSealed.Spec) {
			t.Fatal("never committed")
		}
		time.Sleep(2 * time.Second)
		faults := map[string]string{}
		for _, f := range stagetest.Read(w.b, topics.BackupsFaulted) {
			faults[fmt.Sprintf("%x %d/%d", f.Run.Backup, f.File, f.Extent)] = f.Code
		}
		dropped := map[string]bool{}
		for _, rec := range w.b.Records(topics.ChunksDropped.In(stagetest.Region)) {
			d, err := topics.ChunksDropped.Decode(rec.Value)
			w.must(err)
			for i, place := range d.Places {
				id := d.Ids[32*i : 32*i+32]
				if topics.ChunkPart(id, testParts) != rec.Partition {
					t.Errorf("a claim is given back in partition %d", rec.Partition)
				}
				dropped[fmt.Sprintf("%x %d/%d/%d %x", d.Run.Backup, d.File, d.Extent, place, id)] = true
			}
		}
		log := w.read()
		for i, code := range []string{"sealed.missing", "sealed.damaged", "sealed.damaged", "sealed.damaged", ""} {
			p := w.packs[i]
			if lost := code != ""; log.told(p) == lost || w.shards(p) == 0 != lost || !w.gone(p) {
				t.Errorf("pack %d: told %v, %d shards, file gone %v", i, log.told(p), w.shards(p), w.gone(p))
			}
			for _, x := range p.msg.Extents {
				if got := faults[fmt.Sprintf("%x %d/%d", x.Run.Backup, x.File, x.Extent)]; got != code {
					t.Errorf("pack %d: fault %q, want %q", i, got, code)
				}
				for j, place := range x.Places {
					if dropped[fmt.Sprintf("%x %d/%d/%d %x", x.Run.Backup, x.File, x.Extent, place, x.Ids[32*j:32*j+32])] != (code != "") {
						t.Errorf("pack %d: place %d given back: %v", i, place, code == "")
					}
				}
			}
		}
	})
}

// Fewer targets than a quorum: nothing lands, nothing is lost, and it is told.
// When they are back all lands by itself.
func TestSinkDown(t *testing.T) {
	run(t, 1, func(w *world) {
		p := w.join(0, 0, time.Second)
		time.Sleep(5 * time.Second)
		if rows := stagetest.Rows(w.b, topics.TargetsTurned); len(rows) != 4 || !rows["t3"].Up || !rows["t3"].Quorum {
			t.Errorf("targets at the start: %v", rows)
		}
		p.faults[2].Down(true)
		p.faults[3].Down(true)
		w.send(20)
		time.Sleep(30 * time.Minute) // longer than a hold may be silent
		if log := w.read(); len(log.known)+len(log.landed) > 0 {
			t.Error("landed without a quorum")
		}
		rows := stagetest.Rows(w.b, topics.TargetsTurned)
		if rows["t3"].Up || rows["t3"].Quorum || !strings.Contains(rows["t3"].Why, "down") || !rows["t0"].Up || rows["t0"].Quorum {
			t.Errorf("targets below quorum: %v", rows)
		}
		p.faults[2].Down(false)
		p.faults[3].Down(false)
		if !w.b.Settled(topics.PacksSealed.Spec) {
			t.Fatal("never committed")
		}
		w.consistent()
		time.Sleep(15 * time.Second) // each is probed by itself every 10 s, and told of at the next beat
		if rows := stagetest.Rows(w.b, topics.TargetsTurned); !rows["t3"].Up || !rows["t0"].Quorum {
			t.Errorf("targets in the end: %v", rows)
		}
	})
}

// The record waits for stragglers, the answer does not.
func TestStragglersHoldTheRecordAlone(t *testing.T) {
	run(t, 1, func(w *world) {
		p := w.join(0, 0, time.Second)
		time.Sleep(5 * time.Second)
		p.faults[3].Hang(true)
		w.send(1)
		time.Sleep(15 * time.Second)
		if !w.read().told(w.packs[0]) {
			t.Error("the answer waits for a straggler")
		}
		if at := w.packs[0].at; w.b.Committed(topics.PacksSealed.Spec)[at.Part] > at.Offset || w.gone(w.packs[0]) {
			t.Error("the record does not wait for a straggler")
		}
		time.Sleep(25 * time.Second)
		if !w.gone(w.packs[0]) {
			t.Error("the record waits on for a target that is owed")
		}
		p.faults[3].Hang(false)
	})
}

// A sealed area that does not answer is weather: the pack is not lost.
func TestSealedAreaAway(t *testing.T) {
	run(t, 1, func(w *world) {
		dir := t.TempDir()
		var err error
		if w.sealed, err = staging.OpenSealed(dir, 0); err != nil {
			t.Fatal(err)
		}
		w.send(1)
		path := filepath.Join(dir, w.packs[0].msg.Blob)
		w.must(os.Rename(path, path+".away"))
		w.must(os.Mkdir(path, 0o700)) // reads fail, and not with "no such file"
		w.join(0, 0, time.Second)
		time.Sleep(time.Minute)
		w.must(os.Remove(path))
		w.must(os.Rename(path+".away", path))
		if !w.b.Settled(topics.PacksSealed.Spec) {
			t.Fatal("never committed")
		}
		if w.consistent(); !w.read().told(w.packs[0]) {
			t.Error("it was not told")
		}
	})
}

func TestFalseRecordsAreRefused(t *testing.T) {
	run(t, 1, func(w *world) {
		w.send(1)
		good := w.packs[0].msg
		for i, spoil := range []func(*schemas.PackSealed){
			func(m *schemas.PackSealed) { m.Pack.Id = m.Pack.Id[:15] },
			func(m *schemas.PackSealed) { m.Blake3 = nil },
			func(m *schemas.PackSealed) { m.Blake3 = m.Blake3[:33] },
			func(m *schemas.PackSealed) { m.SizeBytes = 0 },
			func(m *schemas.PackSealed) { m.SizeBytes = vault.PackMax + 1 },
			func(m *schemas.PackSealed) { m.Extents[0].Ids = m.Extents[0].Ids[1:] },
			func(m *schemas.PackSealed) { m.Extents[0].Framed = nil },
			func(m *schemas.PackSealed) { m.Extents[0].Run = nil },
		} {
			bad, err := topics.PacksSealed.Decode(topics.PacksSealed.Event(nil, good).Value)
			w.must(err)
			spoil(bad)
			key := vault.NewPackID(uint64(i)).Key()
			w.b.Send(topics.PacksSealed.Event(key[:], bad))
		}
		w.join(0, 0, time.Second)
		if !w.b.Settled(topics.PacksSealed.Spec) {
			t.Fatal("never committed")
		}
		if n := len(stagetest.ReadRaw(w.b, topics.PacksSealed.Refused())); n != 8 {
			t.Errorf("%d of 8 false records are refused", n)
		}
		if w.consistent(); !w.read().told(w.packs[0]) {
			t.Error("the good one was not told")
		}
	})
}
