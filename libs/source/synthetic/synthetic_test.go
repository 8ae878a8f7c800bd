package synthetic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
)

// The suite's disks are ones of the sizes that it sets, and what is set again is the
// next version of it.
func TestConformance(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.World {
		s := Open(Options{Seed: 1, Images: 2, Common: 0.5, Change: 0.4})
		return sourcetest.World{Source: s, Left: func() []string { return nil },
			Destroy: func(m string) { delete(s.machines, m) },
			Set: func(name, key string, b []byte) {
				m := cmp.Or(s.machines[name], &machine{o: &s.o, no: uint64(len(s.machines)), name: name})
				s.machines[name] = m
				d := disk{m: m, no: uint64(len(m.disks)), key: key, size: int64(len(b)), used: int64(len(b))}
				if i := slices.IndexFunc(m.disks, func(d disk) bool { return d.key == key }); i < 0 {
					m.disks = append(m.disks, d)
				} else {
					d.no = m.disks[i].no
					m.disks[i] = d
					s.o.Version++
				}
				slices.SortFunc(m.disks, func(a, b disk) int { return strings.Compare(a.key, b.key) })
			},
			Made: func(name, key string) []byte {
				for _, d := range s.machines[name].disks {
					if d.key == key {
						return d.whole(s.o.Version)
					}
				}
				return nil
			}}
	})
}

func (d disk) whole(version int) []byte {
	b := make([]byte, d.size)
	d.read(b, 0, version)
	return b
}

// load is like what a load test asks for, small.
func load() Options {
	return Options{Machines: 12, Size: 40<<20 + 512, Used: 10 << 20, Images: 3, Common: 0.5, Change: 0.02, Seed: 9}
}

func the(s *Source, no int) disk { return s.machines[fmt.Sprintf("synthetic-%05d", no)].disks[0] }

// What is told as changed between two versions, in either order, is what differs
// between their bytes, to the sector.
func TestChangesAreExact(t *testing.T) {
	for _, c := range []struct{ change, alike float64 }{{0.02, 0}, {0.3, 0.5}, {0.9, 0}, {1, 1}, {0, 0}} {
		o := load()
		o.Change, o.Alike = c.change, c.alike
		d := the(Open(o), 4)
		for _, v := range [][2]int{{0, 1}, {1, 2}, {0, 5}, {3, 3}} {
			a, b := d.whole(v[0]), d.whole(v[1])
			told := map[int64]bool{}
			for r := range d.written(v[0], v[1]) {
				for off := r.Off; off < r.Off+r.Len; off += sector {
					told[off] = true
				}
			}
			if c.change > 0 && v[1]-v[0] >= 5 && len(told) == 0 {
				t.Errorf("change %v: nothing is told between versions %v", c.change, v)
			}
			for off := int64(0); off < d.size; off += sector {
				end := min(off+sector, d.size)
				if differs := !bytes.Equal(a[off:end], b[off:end]); differs != told[off] {
					t.Fatalf("change %v, versions %v: sector at %d differs: %v, told: %v", c.change, v, off, differs, told[off])
				}
			}
		}
	}
}

// A read gives the same bytes however it is cut.
func TestReadsAreOneFunction(t *testing.T) {
	d := the(Open(load()), 2)
	whole := d.whole(3)
	for off, n := int64(0), int64(1); off < d.size; off, n = off+n, n*7%100_003 {
		p := make([]byte, min(n, d.size-off))
		if d.read(p, off, 3); !bytes.Equal(p, whole[off:off+int64(len(p))]) {
			t.Fatalf("%d bytes at %d are others than those of the whole", len(p), off)
		}
	}
}

// The load is what was asked for: what is allocated to the run; shares and
// compression nearly.
func TestLoadIsAsAskedFor(t *testing.T) {
	o := load()
	o.Machines, o.Size, o.Used = 8, 256<<20, 64<<20
	s := Open(o)
	d := the(s, 1)
	base := d.whole(0)
	have := int64(0)
	for r := range d.allocated() {
		have += r.Len
		for off := r.Off; off < r.Off+r.Len; off += sector {
			if bytes.Count(base[off:off+sector], []byte{0}) == sector {
				t.Fatalf("it is zero at %d, which is allocated", off)
			}
			clear(base[off : off+sector])
		}
	}
	if have != o.Used || bytes.Count(base, []byte{0}) != len(base) {
		t.Errorf("%d bytes are allocated, want %d and nothing beside", have, o.Used)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if got < want*0.8 || got > want*1.2 {
			t.Errorf("%s is %.3f, want about %.3f", what, got, want)
		}
	}
	base = d.whole(0)
	near("what clones share", alike(base, the(s, 4).whole(0), o.Used), o.Common)
	if n := alike(base, the(s, 2).whole(0), o.Used); n > 0 {
		t.Errorf("clones of two images share %v", n)
	}
	changed := int64(0)
	for r := range d.written(0, 10) {
		changed += r.Len
	}
	near("what ten versions changed", float64(changed)/float64(o.Used), 10*o.Change*0.92) // some of it twice

	c, err := seal.NewCompressor(seal.MethodZstd)
	if err != nil {
		t.Fatal(err)
	}
	const chunk = 64 << 10
	packed := 0
	for off := int64(0); off < run; off += chunk {
		b, _ := c.Compress(nil, base[off:off+chunk])
		packed += len(b)
	}
	near("its compression", float64(run)/float64(packed), 2)
}

// alike is which part of n bytes that are not zero is the same at the same place.
func alike(a, b []byte, n int64) float64 {
	same := 0
	for off := 0; off < len(a); off += sector {
		if p := a[off : off+sector]; bytes.Equal(p, b[off:off+sector]) && bytes.Count(p, []byte{0}) < sector {
			same += sector
		}
	}
	return float64(same) / float64(n)
}

// A disk of 2 TiB of which 64 MiB are allocated is told in 64 ranges.
func TestSparse(t *testing.T) {
	o := load()
	o.Size, o.Used = 2<<40, 64<<20
	s := Open(o)
	snap, err := s.Prepare(t.Context(), source.Order{Machine: "synthetic-00001"})
	if err != nil {
		t.Fatal(err)
	}
	n, last := 0, int64(0)
	for r, err := range snap.Changed(t.Context(), snap.Files()[0], "") {
		if err != nil || r.Len != run || !the(s, 1).has(r.Off) {
			t.Fatal(r, err)
		}
		n, last = n+1, r.Off
	}
	if n != 64 || last < 2<<40-2<<40/50 {
		t.Errorf("%d ranges, the last at %d", n, last)
	}
}

// The version is what the file says when a snapshot is made, and a file that says
// nothing is the weather: it may be half written.
func TestVersionIsReadFromAFile(t *testing.T) {
	o := load()
	o.File = filepath.Join(t.TempDir(), "version")
	s := Open(o)
	order := source.Order{Machine: "synthetic-00003", Name: "n"}
	for _, text := range []string{"", "x", "-1", "10001"} {
		if text != "" {
			if err := os.WriteFile(o.File, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Prepare(t.Context(), order); err == nil || source.IsPermanent(err) || !strings.Contains(err.Error(), o.File) {
			t.Errorf("with a file that says %q: %v", text, err)
		}
	}
	var ids []string
	for _, text := range []string{"0", "7\n"} {
		if err := os.WriteFile(o.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		snap, err := s.Prepare(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, snap.ID())
	}
	if !strings.HasSuffix(ids[0], "-0") || !strings.HasSuffix(ids[1], "-7") {
		t.Errorf("snapshots %q, want versions 0 and 7", ids)
	}
	if old, err := s.Resume(t.Context(), order, ids[0]); err != nil || old.ID() != ids[0] {
		t.Errorf("resume of what was there before: %v, %v", old, err)
	}
	o.Change = 0.5 // other machines under the same names
	if _, err := Open(o).Resume(t.Context(), order, ids[0]); !errors.Is(err, source.ErrGone) {
		t.Errorf("resume of a machine that is another: %v", err)
	}
}

// BenchmarkBytes must be far faster than zstd, which makes 446 MB/s of real disks.
func BenchmarkBytes(b *testing.B) {
	r, err := load().Disk("synthetic-00001", 5)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, run)
	b.SetBytes(run)
	for b.Loop() {
		if err := r.ReadAt(context.Background(), p, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkZstd is what compressing them costs, for comparison with real disks.
func BenchmarkZstd(b *testing.B) {
	r, err := load().Disk("synthetic-00001", 5)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 64<<10)
	if err := r.ReadAt(context.Background(), p, 0); err != nil {
		b.Fatal(err)
	}
	c, err := seal.NewCompressor(seal.MethodZstd)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	var out []byte
	for b.Loop() {
		out, _ = c.Compress(out[:0], p)
	}
	b.ReportMetric(float64(len(p))/float64(len(out)), "ratio")
}
