package sealer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// world is what surrounds the sealer: a share with extents, the sealed area, and
// the whole ring, with which it reads every pack as a restore would.
type world struct {
	b      *stagetest.Bench
	ring   *vault.Ring
	share  *staging.Share
	sealed *staging.Sealed
	plain  map[cut.ID][]byte
	sent   []sentRecord
}

// parts of each topic in the bench.
const (
	parts  = 3
	shards = 4
)

type sentRecord struct {
	at     stagetest.Sent
	places []string
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.NewChaCha8(key).Read(b)
	return b
}

func newWorld(t testing.TB, reserve int64) *world {
	t.Helper()
	ring, err := vault.NewRing()
	if err != nil {
		t.Fatal(err)
	}
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := staging.OpenSealed(t.TempDir(), reserve)
	if err != nil {
		t.Fatal(err)
	}
	return &world{ring: ring, share: share, sealed: sealed, plain: map[cut.ID][]byte{}}
}

// deps are what a stage of this world gets: no private half.
func (w *world) deps(m seal.Method) Deps {
	held := *w.ring
	held.Private = nil
	return Deps{Staging: w.share, Sealed: w.sealed, Ring: &held, Codec: m, Shards: shards}
}

func uuid(n int) []byte { return append(make([]byte, 14), byte(n>>8), byte(n)) }

func where(run *schemas.Run, extent, place uint64) string {
	return fmt.Sprintf("%x/%d/%d", run.Lease, extent, place)
}

// extent puts chunks into staging as one extent of a backup, and returns its fresh
// records, as from so many rooms of the deduper.
func (w *world) extent(t testing.TB, backup int, no uint64, rooms int, chunks ...[]byte) []*schemas.ChunksFresh {
	t.Helper()
	namer := cut.NewNamer(w.ring.Name)
	lease := fmt.Sprintf("lease-%d", backup)
	ref, err := w.share.Put(lease, fmt.Sprintf("extent-%d", no), chunks...)
	if err != nil {
		t.Fatal(err)
	}
	made := make([]*schemas.ChunksFresh, rooms)
	at := uint32(0)
	for i, c := range chunks {
		id := namer.ID(c)
		w.plain[id] = c
		m := made[i%rooms]
		if m == nil {
			m = &schemas.ChunksFresh{Run: &schemas.Run{Backup: uuid(backup), Attempt: 1, Lease: uuid(backup), Epoch: uint64(backup)},
				Extent: no, Blob: ref, Refs: &schemas.Refs{}, ReadUs: 1, CutUs: 2, LookupUs: 3}
			made[i%rooms] = m
		}
		m.Refs.Ids, m.Refs.Places = append(m.Refs.Ids, id[:]...), append(m.Refs.Places, no*1000+uint64(i))
		m.Refs.Offsets, m.Refs.Lengths = append(m.Refs.Offsets, at), append(m.Refs.Lengths, uint32(len(c)))
		at += uint32(len(c))
	}
	return made[:min(rooms, len(chunks))]
}

// send sends records, each backup's to a partition of its own.
func (w *world) send(records ...*schemas.ChunksFresh) {
	for _, m := range records {
		s := sentRecord{at: w.b.Send(topics.ChunksFresh.Event(topics.ExtentKey(m.Run.Backup, m.File, m.Extent), m).To(int32(m.Run.Backup[15]) % parts))[0]}
		for _, p := range m.Refs.Places {
			s.places = append(s.places, where(m.Run, m.Extent, p))
		}
		w.sent = append(w.sent, s)
	}
}

// told are the places that a pack holds, by how often; lost are those given back.
func (w *world) told() (told, lost map[string]int) {
	told, lost = map[string]int{}, map[string]int{}
	for _, p := range stagetest.Read(w.b, topics.PacksSealed) {
		for _, x := range p.Extents {
			for _, place := range x.Places {
				told[where(x.Run, x.Extent, place)]++
			}
		}
	}
	for _, d := range stagetest.Read(w.b, topics.ChunksDropped) {
		for _, place := range d.Places {
			lost[where(d.Run, d.Extent, place)]++
		}
	}
	return told, lost
}

// noneForgotten demands that each place of a committed record is in a pack that was
// told, or was given back.
func (w *world) noneForgotten(all bool) {
	w.b.T.Helper()
	done := w.b.Committed(topics.ChunksFresh.Spec)
	told, lost := w.told()
	for _, s := range w.sent {
		for _, p := range s.places {
			if (all || s.at.Offset < done[s.at.Part]) && told[p]+lost[p] == 0 {
				w.b.T.Fatalf("place %s of %v is committed (%v) and neither in a pack nor given back", p, s.at, done)
			}
		}
	}
}

// readPacks reads every pack that was told, as a restore does, and demands that no
// content key and counter ever sealed twice.
func (w *world) readPacks() {
	w.b.T.Helper()
	keysSeen := map[string]string{}
	for _, p := range stagetest.Read(w.b, topics.PacksSealed) {
		id, key, err := w.readPack(p)
		if err != nil {
			w.b.T.Fatal(err)
		}
		if other, ok := keysSeen[key]; ok && other != id.String() {
			w.b.T.Fatalf("packs %s and %s share a content key", other, id)
		}
		keysSeen[key] = id.String()
	}
}

func (w *world) readPack(p *schemas.PackSealed) (id vault.PackID, key string, err error) {
	if id, err = vault.PackIDFromProto(p.Pack); err != nil {
		return id, "", err
	}
	data, err := w.sealed.Read(p.Blob, nil)
	if err != nil {
		return id, "", err
	}
	if len(data) != int(p.SizeBytes) || !bytes.Equal(shard.Sums(shards, data), p.Blake3) {
		return id, "", fmt.Errorf("pack %s is not what was told", id)
	}
	tail, _, err := vault.ReadPackTail(data, int64(len(data)), id)
	if err != nil {
		return id, "", err
	}
	entries, err := tail.Table(w.ring.Map)
	if err != nil {
		return id, "", err
	}
	keys, err := tail.Keys(w.ring)
	if err != nil {
		return id, "", err
	}
	at := map[uint32]vault.Entry{}
	for _, e := range entries {
		at[e.Offset] = e
	}
	opener, err := seal.NewOpener()
	if err != nil {
		return id, "", err
	}
	counters, n := map[uint32]bool{}, 0
	for _, x := range p.Extents {
		if x.Run.Epoch > id.Birth {
			return id, "", fmt.Errorf("pack %s has chunks of epoch %d", id, x.Run.Epoch)
		}
		for i := range x.Places {
			n++
			e := vault.Entry{ID: cut.ID(x.Ids[32*i:]), Offset: x.Offsets[i], Framed: x.Framed[i], Plain: x.Lengths[i]}
			if at[e.Offset] != e {
				return id, "", fmt.Errorf("pack %s: told of %+v, the table has %+v", id, e, at[e.Offset])
			}
			frame := data[e.Offset:][:e.Framed]
			plain, err := keys.Open(opener, nil, e.ID, frame)
			if err != nil || !bytes.Equal(plain, w.plain[e.ID]) {
				return id, "", fmt.Errorf("pack %s: chunk %s comes back changed: %v", id, e.ID, err)
			}
			h, err := seal.ParseHead(frame)
			if err != nil || counters[h.Counter] {
				return id, "", fmt.Errorf("pack %s: counter %d twice: %v", id, h.Counter, err)
			}
			counters[h.Counter] = true
		}
	}
	if n != len(entries) {
		return id, "", fmt.Errorf("pack %s: %d chunks told, %d in it", id, n, len(entries))
	}
	probe := seal.Nonce(1<<32 - 1)
	return id, string(keys[0].Seal(nil, probe[:], make([]byte, 16), nil)), nil
}
