package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// step is one row of the table.
type step struct {
	kind   string // store, condemn, apply
	pack   vault.PackID
	chunks []int
	epoch  uint64
}

func (s step) String() string {
	return fmt.Sprintf("%s %s %v %d", s.kind, s.pack, s.chunks, s.epoch)
}

// model is what the rows of a table say, read plainly.
type model struct {
	at      map[int]vault.PackID
	dead    map[vault.PackID]bool
	applied uint64
}

func (m *model) take(s step) {
	switch s.kind {
	case "store":
		if s.pack.Birth+1 < m.applied {
			m.dead[s.pack] = true
		}
		if m.dead[s.pack] {
			return
		}
		for _, c := range s.chunks {
			m.at[c] = s.pack
		}
	case "condemn":
		m.dead[s.pack] = true
	case "apply":
		m.applied = max(m.applied, s.epoch)
	}
}

func take(p *Part, s step, next int64) error {
	switch s.kind {
	case "store":
		var ids []byte
		var offsets, framed []uint32
		for _, c := range s.chunks {
			id := chunkNo(c)
			ids, offsets, framed = append(ids, id[:]...), append(offsets, uint32(c)), append(framed, uint32(c+1))
		}
		_, err := p.Store(s.pack, ids, offsets, framed, next)
		return err
	case "condemn":
		return p.Condemn(s.pack, next)
	}
	return p.Apply(s.epoch, next)
}

const chunks, packs = 12, 6

func (m *model) check(t interface{ Fatalf(string, ...any) }, p *Part) {
	if p.Applied() != m.applied {
		t.Fatalf("applied %d, want %d", p.Applied(), m.applied)
	}
	for c := range chunks {
		id := chunkNo(c)
		got, ok, err := p.Find(id[:])
		want, there := m.at[c]
		there = there && !m.dead[want]
		if err != nil || ok != there || !ok && got != (Place{}) || ok && (got != Place{want, uint32(c), uint32(c + 1)}) {
			t.Fatalf("chunk %d: found %v %v (%v), want %v %v", c, got, ok, err, want, there)
		}
	}
}

// Goal: the index is what the table says, after any rows, sweeps and crashes.
// Method: random rows against a plain model; a crash leaves what was
// synced and some of what was not; it is opened and read on from the offset it holds.
func TestIndexIsWhatItsTableSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := At("index", Options{})
		disk := vfs.NewCrashableMem()
		d.fs = disk
		p := part(t, d)
		if err := p.Begin([16]byte{7}, 0); err != nil {
			t.Fatal(err)
		}
		defer func() { p.Close() }()
		var log []step
		m := &model{at: map[int]vault.PackID{}, dead: map[vault.PackID]bool{}}
		pack := rapid.Custom(func(t *rapid.T) vault.PackID {
			i := rapid.IntRange(0, packs-1).Draw(t, "pack")
			return packNo(uint64(1+i/2), i)
		})
		row := func(s step) {
			log = append(log, s)
			m.take(s)
			if err := take(p, s, int64(len(log))); err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				row(step{kind: "store", pack: pack.Draw(t, "p"), chunks: rapid.SliceOfNDistinct(rapid.IntRange(0, chunks-1), 1, 5, rapid.ID).Draw(t, "chunks")})
			},
			"condemn": func(t *rapid.T) { row(step{kind: "condemn", pack: pack.Draw(t, "p")}) },
			"apply": func(t *rapid.T) {
				row(step{kind: "apply", epoch: m.applied + uint64(rapid.IntRange(0, 1).Draw(t, "by"))})
			},
			"sweep": func(t *rapid.T) {
				for more, left := true, rapid.IntRange(1, 4).Draw(t, "steps"); more && left > 0; left-- {
					var err error
					if more, err = p.Sweep(rapid.IntRange(1, 5).Draw(t, "limit")); err != nil {
						t.Fatal(err)
					}
				}
			},
			"flush": func(t *rapid.T) {
				if err := d.Flush(); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) {
				left := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(t, "kept"), RNG: rand.New(rand.NewPCG(1, 2))})
				p.Close()
				disk, d = left, At("index", Options{})
				d.fs = disk
				p = part(t, d)
				s, ok := p.State()
				if !ok { // nothing of it was on disk yet
					if err := p.Begin([16]byte{7}, 0); err != nil {
						t.Fatal(err)
					}
				} else if s.Topic != [16]byte{7} {
					t.Fatalf("topic %x", s.Topic)
				}
				for i := s.Next; i < int64(len(log)); i++ {
					if err := take(p, log[i], i+1); err != nil {
						t.Fatal(err)
					}
				}
			},
			"": func(t *rapid.T) { m.check(t, p) },
		})
	})
}

func part(t interface{ Fatalf(string, ...any) }, d *Dir) *Part {
	p, err := d.Part(3)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return p
}

// A condemned pack leaves no rows and no dead entry behind, once it is too old to come back.
func TestSweptPacksAreForgotten(t *testing.T) {
	p := part(t, At(t.TempDir(), Options{}))
	defer p.Close()
	for i, s := range []step{
		{kind: "store", pack: packNo(1, 1), chunks: []int{1, 2, 3}},
		{kind: "store", pack: packNo(1, 2), chunks: []int{4}},
		{kind: "condemn", pack: packNo(1, 1)},
	} {
		if err := take(p, s, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	sweepAll(t, p)
	if got := rows(t, p, kindChunk); got != 1 || rows(t, p, kindPack) != 1 {
		t.Errorf("%d chunks of 1 left", got)
	}
	if p.Dead() != 1 {
		t.Errorf("a pack of a living epoch left the dead set")
	}
	if err := p.Apply(3, 9); err != nil {
		t.Fatal(err)
	}
	sweepAll(t, p)
	if p.Dead() != 0 || rows(t, p, kindDead) != 0 {
		t.Errorf("%d dead entries left", p.Dead())
	}
}

func sweepAll(t *testing.T, p *Part) {
	t.Helper()
	for range 100 {
		if more, err := p.Sweep(1); err != nil {
			t.Fatal(err)
		} else if !more {
			return
		}
	}
	t.Fatal("the sweep has no end")
}

func rows(t *testing.T, p *Part, kind byte) (n int) {
	t.Helper()
	lower, upper := p.bounds(kind, kind+1)
	if err := p.each(lower, upper, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A part that was filled and not begun is half of something.
func TestHalfFilledPartComesBackEmpty(t *testing.T) {
	d := At(t.TempDir(), Options{})
	p := part(t, d)
	id := chunkNo(1)
	if err := p.Fill(packNo(1, 1), id[:], []uint32{1}, []uint32{2}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	p = part(t, d)
	defer p.Close()
	if _, whole := p.State(); whole || rows(t, p, kindChunk) != 0 {
		t.Fatal("the half came back")
	}
}

// What cannot be read is thrown away, at open and while it runs; another
// process's index is not touched.
func TestBrokenIndexBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	d := At(dir, Options{})
	p := part(t, d)
	p.Begin([16]byte{1}, 0)
	for i := range 100 {
		if err := take(p, step{kind: "store", pack: packNo(1, i), chunks: []int{i}}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := At(dir, Options{}).Part(0); err == nil {
		t.Fatal("two owners of one directory")
	}
	p.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, bytes.Repeat([]byte{0xa5}, len(b)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p, err = d.Part(3); err == nil {
		id := chunkNo(5)
		_, _, err = p.Find(id[:])
		p.Close()
	}
	if err == nil || len(files) == 0 {
		t.Fatalf("garbage in %d files was believed", len(files))
	}
	p = part(t, d)
	defer p.Close()
	if _, whole := p.State(); whole {
		t.Fatal("a broken index came back")
	}
}
