package index

import (
	"crypto/rand"
	"encoding/binary"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// chunkNo is the id of the i-th chunk: noise, as hashes are, and told by i.
func chunkNo(i int) (id [32]byte) {
	x := uint64(i) + 1
	for j := range 4 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.BigEndian.PutUint64(id[8*j:], x*0x9e3779b97f4a7c15)
	}
	return id
}

func packNo(birth uint64, i int) (p vault.PackID) {
	p.Birth = birth
	binary.BigEndian.PutUint64(p.ID[:], uint64(i))
	return p
}

const rowChunks = 128 // of one pack in one of four partitions

func row(i int) (ids []byte, offsets, framed []uint32) {
	for j := range rowChunks {
		id := chunkNo(i*rowChunks + j)
		ids = append(ids, id[:]...)
		offsets, framed = append(offsets, uint32(j)<<15), append(framed, 30<<10)
	}
	return ids, offsets, framed
}

func fill(b *testing.B, p *Part, rows int) {
	for i := range rows {
		ids, off, fr := row(i)
		if _, err := p.Store(packNo(1, i), ids, off, fr, int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func openB(b *testing.B) (*Dir, *Part) {
	d := At(b.TempDir(), Options{})
	p, err := d.Part(0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	if err := p.Begin([16]byte{1}, 0); err != nil {
		b.Fatal(err)
	}
	return d, p
}

// Each op is one chunk.
func BenchmarkStore(b *testing.B) {
	d, p := openB(b)
	b.ResetTimer()
	fill(b, p, b.N/rowChunks+1)
	b.StopTimer()
	d.Flush()
	b.ReportMetric(float64(d.DiskBytes())/float64(b.N), "disk-B/chunk")
}

func BenchmarkFindHit(b *testing.B) {
	_, p := openB(b)
	const rows = 16_000 // 2M chunks
	fill(b, p, rows)
	b.ResetTimer()
	for i := range b.N {
		id := chunkNo(i * 7919 % (rows * rowChunks))
		if _, ok, err := p.Find(id[:]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkFindMiss(b *testing.B) {
	_, p := openB(b)
	fill(b, p, 16_000)
	ids := make([]byte, 32*1024)
	rand.Read(ids)
	b.ResetTimer()
	for i := range b.N {
		j := 32 * (i % 1024)
		binary.BigEndian.PutUint64(ids[j+8:], uint64(i))
		if _, ok, err := p.Find(ids[j : j+32]); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
