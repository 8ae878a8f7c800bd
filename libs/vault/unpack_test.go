package vault

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// calls is a file in memory that notes how much each write brought.
type calls struct {
	mu   sync.Mutex
	b    []byte
	lens []int
}

func (c *calls) WriteAt(b []byte, at int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lens = append(c.lens, len(b))
	return copy(c.b[at:], b), nil
}

func (c *calls) ReadAt(b []byte, at int64) (int, error) { return copy(b, c.b[at:]), nil }

// Chunks that are neighbours in their pack and in the file are written with one
// call, also where one of them stands twice in the file.
func TestNeighboursAreWrittenTogether(t *testing.T) {
	l := newLibrary(t, 3, 2)
	r := l.reader()
	p, err := r.Point(t.Context(), l.path)
	l.must(err)
	to := &calls{b: make([]byte, len(l.disk))}
	l.must(r.Restore(t.Context(), p, p.Files[0], to, RestoreOptions{}))
	if !bytes.Equal(to.b, l.disk) {
		t.Error("the restored disk differs")
	}
	longest := 0
	for _, n := range to.lens {
		longest = max(longest, n)
		if n > writeMost {
			t.Errorf("a write of %d bytes, %d at most", n, writeMost)
		}
	}
	// Places 181 to 197 are data: 17 neighbours, of which at most two packs have each
	// a part.
	if longest < 8*testGrid {
		t.Errorf("the longest write has %d bytes, want 8 places of %d at least", longest, testGrid)
	}
}

// BenchmarkUnpack opens a full pack of 64 KiB chunks that are neighbours in a file,
// and writes them into a new one.
func BenchmarkUnpack(b *testing.B) {
	ring, err := NewRing()
	if err != nil {
		b.Fatal(err)
	}
	pack, err := NewBuilder(ring, BuilderOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var wants []want
	namer, rng := cut.NewNamer(ring.Name), rand.NewChaCha8([32]byte{7})
	for at := uint64(0); pack.Fits(testGrid); at += testGrid {
		plain := make([]byte, testGrid)
		rng.Read(plain)
		e, err := pack.Add(namer.ID(plain), plain)
		if err != nil {
			b.Fatal(err)
		}
		wants = append(wants, want{PagePlace{Kind: PlaceChunk, ID: e.ID, Offset: e.Offset, Framed: e.Framed}, at, testGrid})
	}
	id, data, _, err := pack.Close(1)
	if err != nil {
		b.Fatal(err)
	}
	t, _, err := ReadPackTail(data, int64(len(data)), id)
	if err != nil {
		b.Fatal(err)
	}
	keys, err := t.Keys(ring)
	if err != nil {
		b.Fatal(err)
	}
	o, done, err := (&Reader{ring: ring}).opener()
	if err != nil {
		b.Fatal(err)
	}
	defer done()
	path := filepath.Join(b.TempDir(), "disk")
	b.SetBytes(int64(len(wants)) * testGrid)
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		_, err = o.write(keys, wants, data, 0, f)
		if err := errors.Join(err, f.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
