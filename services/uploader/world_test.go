//go:build synctests

package uploader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	testParts = 3
	testK     = 2
)

// world is a vault of 2+2 and a sealed area, both real, around a bench.
type world struct {
	t      *testing.T
	b      *stagetest.Bench
	seed   uint64
	sealed *staging.Sealed
	stores []*mem.Store
	up     []*process
	packs  []*sent
	rooms  *rate.Rooms // of who joins
}

// process is one uploader with its own way to each target.
type process struct {
	m      *stagetest.Member
	w      *vault.Writer
	faults []*blobtest.Faulty
}

// sent is a pack on the bus.
type sent struct {
	id   vault.PackID
	msg  *schemas.PackSealed
	size int
	at   stagetest.Sent
}

// run is a bench with a world around it. The stage of the bench is replaced
// before each member joins, since each has a writer of its own.
func run(t *testing.T, seed uint64, f func(*world)) {
	t.Helper()
	stagetest.Run(t, seed, Stage(Default(), Deps{}), testParts, func(b *stagetest.Bench) {
		w := &world{t: b.T, b: b, seed: seed}
		w.stores = []*mem.Store{mem.New(), mem.New(), mem.New(), mem.New()}
		w.must(vault.Init(context.Background(), w.targets(nil), vault.Settings{Name: "v", Region: stagetest.Region,
			GridBytes: 64 << 10, Compression: "none", K: testK, M: 2}, nil))
		var err error
		w.sealed, err = staging.OpenSealed(t.TempDir(), 0)
		w.must(err)
		f(w)
		for _, p := range w.up {
			p.m.Leave()
			p.w.Close()
		}
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) targets(p *process) (ts []vault.Target) {
	for i, s := range w.stores {
		f := blobtest.NewFaulty(s, w.seed<<8+uint64(len(w.up)*16+i))
		if p != nil {
			p.faults = append(p.faults, f)
		}
		ts = append(ts, vault.Target{Name: fmt.Sprint("t", i), Store: f})
	}
	return ts
}

// join starts an uploader whose puts are lost, or done and their answers lost, in
// such a share of all, and take up to slow.
func (w *world) join(weather, torn float64, slow time.Duration) *process {
	w.t.Helper()
	p := &process{}
	v, err := vault.Open(context.Background(), w.targets(p))
	w.must(err)
	p.w, err = vault.NewWriter(v, vault.WriterOptions{Region: stagetest.Region, Log: w.b.Log})
	w.must(err)
	for _, f := range p.faults {
		f.Slow(slow).Lose(weather).Ghost(weather)
	}
	w.b.Stage = Stage(Default(), Deps{Sealed: w.sealed, Writer: p.w, Rooms: w.rooms})
	p.m = w.b.Join(torn)
	w.up = append(w.up, p)
	return p
}

// crash cuts an uploader off from its targets first, and then from all.
func (w *world) crash(p *process) {
	for _, f := range p.faults {
		f.Down(true)
	}
	p.m.Crash()
	p.w.Close()
	for i, q := range w.up {
		if p == q {
			w.up = append(w.up[:i:i], w.up[i+1:]...)
		}
	}
}

// send seals n packs of a few extents, of two backups, and tells the uploader.
func (w *world) send(n int) {
	w.t.Helper()
	for range n {
		body := make([]byte, 500+w.b.Rand.IntN(5000))
		fill(w.b.Rand, body)
		id := vault.NewPackID(1)
		ref, err := w.sealed.Put(context.Background(), id.String(), body)
		w.must(err)
		m := &schemas.PackSealed{Pack: id.Proto(), Blob: ref, SizeBytes: uint32(len(body)), Blake3: shard.Sums(testK, body)}
		if len(w.packs)%4 >= 2 { // of a sealer of before
			sum := blake3.Sum256(body)
			m.Blake3 = sum[:]
		}
		for e := range 1 + w.b.Rand.IntN(3) {
			x := &schemas.SealedExtent{Run: testRun(byte(len(w.packs) % 2)), File: uint32(e), Extent: uint64(len(w.packs)), SealUs: 7}
			for place := range 1 + w.b.Rand.IntN(6) {
				chunk := make([]byte, 32)
				fill(w.b.Rand, chunk)
				x.Places, x.Ids = append(x.Places, uint64(place)), append(x.Ids, chunk...)
				x.Offsets, x.Framed, x.Lengths = append(x.Offsets, uint32(place*10)), append(x.Framed, 10), append(x.Lengths, 64<<10)
			}
			m.Extents = append(m.Extents, x)
		}
		key := id.Key()
		at := w.b.Send(topics.PacksSealed.Event(key[:], m))
		w.packs = append(w.packs, &sent{id, m, len(body), at[0]})
	}
}

func fill(rng *rand.Rand, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, rng.Uint64())
		b = b[8:]
	}
}

func testRun(n byte) *schemas.Run {
	id := make([]byte, 16)
	id[0] = n
	return &schemas.Run{Backup: id, Attempt: 1, Lease: append([]byte(nil), id...), Epoch: 1}
}

// shards is how many targets hold a sound shard of the pack.
func (w *world) shards(p *sent) (n int) {
	for i, s := range w.stores {
		b, err := s.Get(context.Background(), vault.ShardKey(p.id, false, uint8(i), 0), 0, -1)
		if err != nil {
			continue
		}
		h, err := shard.ParseHeader(b)
		if err == nil {
			err = h.Check(b[shard.HeaderBytes:])
		}
		if err != nil || h.Length != uint64(p.size) {
			w.t.Errorf("pack %s, shard %d: %+v, %v", p.id, i, h, err)
		}
		n++
	}
	return n
}

// gone reports whether the sealed file is.
func (w *world) gone(p *sent) bool {
	_, err := w.sealed.Read(p.msg.Blob, nil)
	return errors.Is(err, staging.ErrMissing)
}

// log is what the bus says of each chunk: in which pack it is known, and where it landed.
type log struct{ known, landed map[string]int }

func (w *world) read() (l log) {
	l = log{map[string]int{}, map[string]int{}}
	for _, rec := range w.b.Records(topics.ChunksStored.In(stagetest.Region)) {
		row, err := topics.ChunksStored.Decode(rec.Value)
		w.must(err)
		p := row.GetPack()
		id, err := vault.PackIDFromProto(p.GetPack())
		w.must(err)
		if key := id.Key(); string(rec.Key) != string(key[:]) {
			w.t.Errorf("row of pack %s under key %x", id, rec.Key)
		}
		for i := range p.Offsets {
			chunk := p.Ids[32*i : 32*i+32]
			if topics.ChunkPart(chunk, testParts) != rec.Partition {
				w.t.Errorf("a chunk is known in partition %d", rec.Partition)
			}
			l.known[fmt.Sprintf("%s %x %d+%d", id, chunk, p.Offsets[i], p.Framed[i])]++
		}
	}
	for _, m := range stagetest.Read(w.b, topics.ChunksLanded) {
		if m.Redundancy < 3 {
			w.t.Errorf("landed with %d shards", m.Redundancy)
		}
		for i, place := range m.Places.Places {
			id, err := vault.PackIDFromProto(m.Places.Packs[m.Places.Pack[i]])
			w.must(err)
			l.landed[fmt.Sprintf("%x %d/%d/%d %s %x %d+%d %d", m.Run.Backup, m.File, m.Extent, place, id, m.Places.Ids[32*i:32*i+32],
				m.Places.Offsets[i], m.Places.Framed[i], m.Places.Lengths[i])]++
		}
	}
	return l
}

// told says how many chunks of the pack are both known and landed.
func (l log) told(p *sent) (all bool) {
	for _, x := range p.msg.Extents {
		for i, place := range x.Places {
			chunk := fmt.Sprintf("%s %x %d+%d", p.id, x.Ids[32*i:32*i+32], x.Offsets[i], x.Framed[i])
			if l.known[chunk] == 0 || l.landed[fmt.Sprintf("%x %d/%d/%d %s %d", x.Run.Backup, x.File, x.Extent, place, chunk, x.Lengths[i])] == 0 {
				return false
			}
		}
	}
	return true
}
