package vault

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

var mapA, mapB = PackID{5, [16]byte{0xa}}, PackID{6, [16]byte{0xb}}

// testPoint is a point of one disk of 5 pages and one stream of 2.
func testPoint(t testing.TB) *Point {
	t.Helper()
	p := &Point{
		Run:        &schemas.Run{Backup: bytes.Repeat([]byte{1}, 16), Attempt: 2, Lease: bytes.Repeat([]byte{2}, 16), Epoch: 6},
		Machine:    &schemas.Machine{Source: "lab", Id: "42", Name: "db-1"},
		Job:        &schemas.Job{Id: bytes.Repeat([]byte{3}, 16), Of: 1},
		SnapshotId: "snap-1", SnapshotMs: 1_700_000_000_000, Consistency: schemas.Consistency_CONSISTENCY_CRASH,
		Warnings: []string{"no agent"}, Totals: &schemas.Totals{Bytes: 1},
	}
	b := NewPointBuilder(p)
	disk := &schemas.PointFile{No: 0, Key: "disk-0", Name: "db-1.vmdk", Kind: schemas.FileExported_KIND_DISK, SizeBytes: 4<<22 + 1, GridBytes: 65536}
	for _, f := range []struct {
		file *schemas.PointFile
		runs []PageRun
	}{
		{disk, []PageRun{{0, 1, mapA, 7}, {1, 1, mapA, 8}, {2, 1, PackID{}, 0}, {3, 1, PackID{}, 9}, {4, 1, mapB, 0}}},
		{&schemas.PointFile{No: 1, Key: "etc", Name: "etc.tar", SizeBytes: 100}, []PageRun{{0, 1, mapB, 5}, {1, 1, mapA, 6}}},
	} {
		if err := b.File(f.file, slices.Values(f.runs)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestPointComesBack(t *testing.T) {
	p, key := testPoint(t), testRing(t).Map
	b, err := EncodePoint(key, p)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodePoint(key, b)
	if err != nil || !proto.Equal(back, p) {
		t.Fatalf("%v comes back as %v: %v", p, back, err)
	}
	want := []PageRun{{0, 2, mapA, 7}, {2, 2, PackID{}, 0}, {4, 1, mapB, 0}}
	if got := slices.Collect(Runs(back, back.Files[0])); !slices.Equal(got, want) {
		t.Errorf("runs %v, want %v", got, want)
	}
	want = []PageRun{{0, 1, mapB, 5}, {1, 1, mapA, 6}}
	if got := slices.Collect(Runs(back, back.Files[1])); !slices.Equal(got, want) {
		t.Errorf("runs %v, want %v", got, want)
	}
	if again, err := EncodePoint(key, p); err != nil || bytes.Equal(again, b) {
		t.Errorf("two encodings share a salt: %v", err)
	}
}

// Runs are joined only where both pages and slots go on.
func TestRunsAreJoined(t *testing.T) {
	p, f := &Point{}, &schemas.PointFile{}
	in := []PageRun{{0, 2, mapA, 3}, {2, 1, mapA, 5}, {3, 1, mapA, 9}, {4, 1, mapB, 10}, {5, 1, mapB, 9}}
	if err := NewPointBuilder(p).File(f, slices.Values(in)); err != nil {
		t.Fatal(err)
	}
	want := []PageRun{{0, 3, mapA, 3}, {3, 1, mapA, 9}, {4, 1, mapB, 10}, {5, 1, mapB, 9}}
	if got := slices.Collect(Runs(p, f)); !slices.Equal(got, want) || len(p.MapPacks) != 2 {
		t.Errorf("runs %v, want %v", got, want)
	}
}

// The path names the machine to nobody without the map key, and a point read from
// another path is seen.
func TestPointPath(t *testing.T) {
	p, key := testPoint(t), testRing(t).Map
	path, err := PathOf(key, p)
	if err != nil {
		t.Fatal(err)
	}
	hash := MachineHash(key, "lab", "42")
	if want := "points/6/" + hash + "/01010101-0101-0101-0101-010101010101-02020202-0202-0202-0202-020202020202"; path != want || len(hash) != 32 {
		t.Errorf("path %s, want %s", path, want)
	}
	if MachineHash([32]byte{1}, "lab", "42") == hash || MachineHash(key, "lab4", "2") == hash || strings.Contains(path, "lab") {
		t.Error("the hash is not of key, source and id")
	}
	if _, err := PointPath(key, 1, p.Machine, []byte{1}, p.Run.Lease); err == nil {
		t.Error("a backup id of one byte has a path")
	}
}

func TestDamagedPointsAreFound(t *testing.T) {
	key := testRing(t).Map
	b, err := EncodePoint(key, testPoint(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 4
		if _, err := DecodePoint(key, bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := DecodePoint(key, b[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := DecodePoint([32]byte{1}, b); !errors.Is(err, ErrDamaged) {
		t.Errorf("another map key: %v", err)
	}
}

// A point that a reader could not follow is not written, and not believed.
func TestFalsePoints(t *testing.T) {
	for name, change := range map[string]func(p *Point){
		"no run":            func(p *Point) { p.Run = nil },
		"short lease":       func(p *Point) { p.Run.Lease = []byte{1} },
		"no machine":        func(p *Point) { p.Machine.Id = "" },
		"map pack twice":    func(p *Point) { p.MapPacks[1] = p.MapPacks[0] },
		"map pack of none":  func(p *Point) { p.MapPacks[0] = &schemas.Pack{Id: make([]byte, 16)} },
		"map pack's id":     func(p *Point) { p.MapPacks[0].Id = []byte{1} },
		"files unordered":   func(p *Point) { p.Files[0], p.Files[1] = p.Files[1], p.Files[0] },
		"a page too few":    func(p *Point) { p.Files[0].RunPages[0]-- },
		"a page too many":   func(p *Point) { p.Files[0].SizeBytes = 4 << 22 },
		"run of none":       func(p *Point) { p.Files[0].RunPages[0], p.Files[0].RunPages[1] = 0, 4 },
		"unknown map pack":  func(p *Point) { p.Files[0].RunMap[0] = 3 },
		"slot beyond":       func(p *Point) { p.Files[0].RunSlot[0] = MapSlotsMax },
		"zero with slot":    func(p *Point) { p.Files[0].RunSlot[1] = 1 },
		"columns":           func(p *Point) { p.Files[0].RunSlot = p.Files[0].RunSlot[1:] },
		"grid":              func(p *Point) { p.Files[0].GridBytes = 65535 },
		"zeros in a stream": func(p *Point) { p.Files[1].RunMap[0], p.Files[1].RunSlot[0] = 0, 0 },
		"stream of nothing": func(p *Point) { p.Files[1].RunPages, p.Files[1].RunMap, p.Files[1].RunSlot = nil, nil, nil },
	} {
		p := testPoint(t)
		change(p)
		if err := CheckPoint(p); err == nil {
			t.Errorf("%s: it passes", name)
		}
		if _, err := EncodePoint(testRing(t).Map, p); err == nil {
			t.Errorf("%s: it is written", name)
		}
	}
	b := NewPointBuilder(&Point{})
	for _, runs := range [][]PageRun{{{1, 1, mapA, 0}}, {{0, 1, mapA, 0}, {2, 1, mapA, 1}}, {{0, 0, mapA, 0}}, {{0, 1, mapA, 0}, {1, 1<<32 - 1, mapA, 1}}} {
		if err := b.File(&schemas.PointFile{}, slices.Values(runs)); err == nil {
			t.Errorf("runs %v are filed", runs)
		}
	}
	if n := Pages(1<<64-1, 65536); n != 1<<42 {
		t.Errorf("%d pages", n)
	}
}

func FuzzDecodePoint(f *testing.F) {
	key := testRing(f).Map
	plain, err := proto.Marshal(testPoint(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, plain []byte) {
		p := new(Point)
		if proto.Unmarshal(plain, p) != nil || CheckPoint(p) != nil {
			return
		}
		for _, file := range p.Files {
			pages := uint64(0)
			for r := range Runs(p, file) {
				pages += uint64(r.Count)
			}
			if file.GridBytes != 0 && pages != Pages(file.SizeBytes, file.GridBytes) {
				t.Fatalf("%d pages", pages)
			}
		}
		if b, err := EncodePoint(key, p); err != nil {
			t.Fatal(err)
		} else if _, err := DecodePoint(key, b); err != nil {
			t.Fatal(err)
		}
	})
}
