package deduper

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	benchRefs = 64      // of an extent of 16 MiB, to one of four partitions
	benchRows = 128     // chunks of a pack in one partition
	benchAll  = 1 << 20 // chunks stored before
)

func benchID(dst []byte, i int) []byte {
	x := uint64(i) + 1
	for range 4 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		dst = binary.BigEndian.AppendUint64(dst, x*0x9e3779b97f4a7c15)
	}
	return dst
}

func benchCut(first int) *schemas.ChunksCut {
	c := &schemas.ChunksCut{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16), Attempt: 1, Epoch: 1}, Blob: "b", Refs: &schemas.Refs{}}
	for i := range benchRefs {
		c.Refs.Ids = benchID(c.Refs.Ids, first+i)
		c.Refs.Places = append(c.Refs.Places, uint64(i))
		c.Refs.Offsets, c.Refs.Lengths = append(c.Refs.Offsets, 0), append(c.Refs.Lengths, 1)
	}
	return c
}

func benchRow(first int) *schemas.StoredPack {
	p := &schemas.StoredPack{Pack: pack(first).Proto()}
	for i := range benchRows {
		p.Ids = benchID(p.Ids, first+i)
		p.Offsets, p.Framed = append(p.Offsets, uint32(i)<<15), append(p.Framed, 30<<10)
	}
	return p
}

func benchRoom(b *testing.B) *room {
	dir := index.At(b.TempDir(), index.Options{})
	part, err := dir.Part(0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { part.Close() })
	s := &shared{env: stage.Env{Now: time.Now}, dir: dir}
	r := &room{shared: s, part: part, claims: newClaims(), held: map[hold]*record{}}
	if err := part.Begin([16]byte{1}, 0); err != nil {
		b.Fatal(err)
	}
	for i := 0; i < benchAll; i += benchRows {
		if err := r.stored(benchRow(i), int64(i)); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

// Each op is one place: of a chunk that the index has.
func BenchmarkKnown(b *testing.B) {
	r := benchRoom(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += benchRefs {
		rec := &record{cut: benchCut(i * 7919 % (benchAll - benchRefs))}
		if err := r.judge(rec); err != nil {
			b.Fatal(err)
		}
		rec.tell(true)
	}
}

// Each op is one place whose chunk is claimed, sent, waited for by a second
// backup, stored and answered.
func BenchmarkFreshAndWaited(b *testing.B) {
	r := benchRoom(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += benchRows {
		for range 2 {
			for j := 0; j < benchRows; j += benchRefs {
				rec := &record{cut: benchCut(benchAll + i + j), hold: released{}}
				if err := r.judge(rec); err != nil {
					b.Fatal(err)
				}
				rec.tell(true)
			}
		}
		if err := r.stored(benchRow(benchAll+i), int64(benchAll+i)); err != nil {
			b.Fatal(err)
		}
	}
	if r.claims.waiting != 0 {
		b.Fatal("some still wait")
	}
}

type released struct{}

func (released) Release(...topics.Event) {}
