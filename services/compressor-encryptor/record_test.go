package sealer

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func TestCheck(t *testing.T) {
	good := func() *schemas.ChunksFresh {
		return &schemas.ChunksFresh{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16)}, Blob: "l/b",
			Refs: &schemas.Refs{Ids: make([]byte, 64), Places: []uint64{1, 2}, Offsets: []uint32{0, 10}, Lengths: []uint32{10, 20}}}
	}
	if err := check(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(m *schemas.ChunksFresh){
		"no run":          func(m *schemas.ChunksFresh) { m.Run = nil },
		"short lease":     func(m *schemas.ChunksFresh) { m.Run.Lease = nil },
		"no blob":         func(m *schemas.ChunksFresh) { m.Blob = "" },
		"no refs":         func(m *schemas.ChunksFresh) { m.Refs = nil },
		"ids":             func(m *schemas.ChunksFresh) { m.Refs.Ids = m.Refs.Ids[1:] },
		"offsets":         func(m *schemas.ChunksFresh) { m.Refs.Offsets = nil },
		"lengths":         func(m *schemas.ChunksFresh) { m.Refs.Lengths = append(m.Refs.Lengths, 1) },
		"empty chunk":     func(m *schemas.ChunksFresh) { m.Refs.Lengths[0] = 0 },
		"huge chunk":      func(m *schemas.ChunksFresh) { m.Refs.Lengths[0] = seal.PlainMax + 1 },
		"beyond the blob": func(m *schemas.ChunksFresh) { m.Refs.Offsets[1] = 1<<32 - 1 },
	} {
		m := good()
		change(m)
		if check(m) == nil {
			t.Errorf("%s: it passes", name)
		}
	}
}

// Chunks of one extent that came in several records, in any order, are read with few
// calls, in order of places; no read spans two blobs or is larger than it may be.
func TestGatherJoinsNeighbours(t *testing.T) {
	var refs []ref
	for backup := range 3 {
		for part := range 4 {
			m := &schemas.ChunksFresh{Run: &schemas.Run{Backup: uuid(backup), Lease: uuid(backup)}, Blob: string(rune('a' + backup)), Refs: &schemas.Refs{}}
			for place := part; place < 64; place += 4 {
				m.Refs.Places = append(m.Refs.Places, uint64(place))
				m.Refs.Offsets, m.Refs.Lengths = append(m.Refs.Offsets, uint32(place)<<16), append(m.Refs.Lengths, 1<<16)
			}
			r := &record{msg: m}
			for n := range m.Refs.Places {
				refs = append(refs, ref{r, n})
			}
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	groups := gather(refs)
	if len(groups) != 3*4 {
		t.Errorf("%d groups, want 4 MiB of 3 backups in 12", len(groups))
	}
	n := 0
	for _, g := range groups {
		if g.to-g.from > groupBytes {
			t.Errorf("a read of %d bytes", g.to-g.from)
		}
		for i, r := range g.refs {
			n++
			if r.rec.msg.Blob != g.blob || r.from() < g.from || r.to() > g.to || i > 0 && r.place() != g.refs[i-1].place()+1 {
				t.Errorf("chunk %d of %s in a group of %s", r.place(), r.rec.msg.Blob, g.blob)
			}
		}
	}
	if n != len(refs) {
		t.Errorf("%d chunks of %d", n, len(refs))
	}
	far := &record{msg: &schemas.ChunksFresh{Run: &schemas.Run{}, Blob: "a", Refs: &schemas.Refs{Places: []uint64{1, 2, 3, 4},
		Offsets: []uint32{0, 10 + gapBytes, 21 + 2*gapBytes, 5}, Lengths: []uint32{10, 10, 2 << 20, 9}}}}
	if groups := gather([]ref{{far, 0}, {far, 1}, {far, 2}, {far, 3}}); len(groups) != 3 || len(groups[0].refs) != 2 {
		t.Errorf("groups %v, want one over the gap, the large one alone, and the one before it alone", groups)
	}
	if groups := gather(nil); groups != nil {
		t.Errorf("groups %v of nothing", groups)
	}
}

// Each lost chunk is given back in its own partition, under its run.
func TestLosses(t *testing.T) {
	r := &record{msg: &schemas.ChunksFresh{Run: &schemas.Run{Backup: uuid(1), Lease: uuid(1)}, Extent: 5,
		Refs: &schemas.Refs{Ids: make([]byte, 96), Places: []uint64{7, 8, 9}}}}
	if r.losses(4) != nil {
		t.Error("nothing is lost and something is told")
	}
	r.msg.Refs.Ids[3], r.msg.Refs.Ids[35], r.msg.Refs.Ids[67] = 2, 6, 3
	r.gone, r.code = []int{0, 1, 2}, "missing"
	var parts []int32
	for _, e := range r.losses(4)[1:] {
		var d schemas.ChunksDropped
		if err := proto.Unmarshal(e.Value, &d); err != nil {
			t.Fatal(err)
		}
		for i := range d.Places {
			if topics.ChunkPart(d.Ids[32*i:], 4) != e.Part {
				t.Errorf("chunk %x goes to partition %d", d.Ids[32*i:32*i+4], e.Part)
			}
		}
		parts = append(parts, e.Part)
	}
	if len(parts) != 2 {
		t.Errorf("partitions %v, want 2 and 3", parts)
	}
}
