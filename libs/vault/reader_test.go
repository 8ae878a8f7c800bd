package vault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

const testGrid = 64 << 10

// library is a vault with one point of one disk, whose bytes are known.
type library struct {
	*rig
	ring  *Ring
	disk  []byte
	more  []content // behind the disk
	point *Point
	path  string
	packs []PackID
	maps  []PackID

	lie  func(plain []byte) []byte // what is sealed under a chunk's name; nil: its bytes
	bend func(p *Page)             // what a page says of itself; nil: the truth
}

// content is one file of a point.
type content struct {
	name string
	kind schemas.FileExported_Kind
	b    []byte
}

// newLibrary fills a vault: some places data, some zero, one chunk twice, the
// last place short.
func newLibrary(t testing.TB, k, m int) *library {
	t.Helper()
	return bentLibrary(t, k, m, nil, nil)
}

func bentLibrary(t testing.TB, k, m int, lie func([]byte) []byte, bend func(*Page)) *library {
	t.Helper()
	l := &library{rig: newRig(t, k, m, 1), lie: lie, bend: bend}
	var err error
	l.ring, err = NewRing()
	l.must(err)
	rng := rand.NewChaCha8([32]byte{7})
	l.disk = make([]byte, 3*64*testGrid+5*testGrid+1234)
	for i := 0; i < len(l.disk); i += testGrid {
		if place := i / testGrid; place%3 == 0 || place > 180 {
			rng.Read(l.disk[i:min(i+testGrid, len(l.disk))])
		}
	}
	copy(l.disk[6*testGrid:], l.disk[:testGrid])
	l.fill(t)
	return l
}

func (l *library) fill(t testing.TB) {
	w, err := NewWriter(l.v, WriterOptions{Region: "local"})
	l.must(err)
	defer w.Close()
	namer, known := cut.NewNamer(l.ring.Name), map[cut.ID]PagePlace{}
	b, err := NewBuilder(l.ring, BuilderOptions{})
	l.must(err)
	var pending []cut.ID
	seal := func() {
		if b.Len() == 0 {
			return
		}
		id, body, entries, err := b.Close(1)
		l.must(err)
		landed, err := w.Pack(t.Context(), id, false, body)
		l.must(err)
		<-landed.Done()
		l.packs = append(l.packs, id)
		for _, e := range entries {
			known[e.ID] = PagePlace{Kind: PlaceChunk, ID: e.ID, Pack: id, Offset: e.Offset, Framed: e.Framed}
		}
		b, err = NewBuilder(l.ring, BuilderOptions{})
		l.must(err)
		pending = nil
	}
	files := append([]content{{"disk0.raw", schemas.FileExported_KIND_DISK, l.disk}}, l.more...)
	for _, f := range files {
		for plain := range slices.Chunk(f.b, testGrid) {
			id := namer.ID(plain)
			if _, ok := known[id]; ok || cut.Zero(plain) {
				continue
			}
			known[id] = PagePlace{}
			if l.lie != nil {
				plain = l.lie(bytes.Clone(plain))
			}
			_, err := b.Add(id, plain)
			l.must(err)
			if pending = append(pending, id); len(pending) == 20 {
				seal()
			}
		}
	}
	seal()
	mb, err := NewMapBuilder(l.ring.Map, MapBuilderOptions{})
	l.must(err)
	runs := make([][]PageRun, len(files))
	for i, f := range files {
		for no := range uint32(Pages(uint64(len(f.b)), testGrid)) {
			p := Page{No: no, Start: uint64(no) * 64 * testGrid}
			for plain := range slices.Chunk(f.b[p.Start:min(len(f.b), int(p.Start)+64*testGrid)], testGrid) {
				place := PagePlace{Kind: PlaceZero}
				if !cut.Zero(plain) {
					place = known[namer.ID(plain)]
				}
				p.Places = append(p.Places, place)
			}
			if l.bend != nil {
				l.bend(&p)
			}
			slot, err := mb.Add(p)
			l.must(err)
			runs[i] = append(runs[i], PageRun{First: no, Count: 1, Slot: slot})
		}
	}
	var id PackID
	if len(slices.Concat(runs...)) > 0 {
		var body []byte
		id, body, err = mb.Close(1)
		l.must(err)
		landed, err := w.Pack(t.Context(), id, true, body)
		l.must(err)
		<-landed.Done()
		l.maps = append(l.maps, id)
	}
	run := &schemas.Run{Backup: bytes.Repeat([]byte{1}, 16), Attempt: 1, Lease: bytes.Repeat([]byte{2}, 16), Epoch: 1}
	l.point = &Point{Run: run, Machine: &schemas.Machine{Source: "s", Id: "m", Name: "m"}, Totals: &schemas.Totals{}}
	pb := NewPointBuilder(l.point)
	for i, f := range files {
		l.must(pb.File(&schemas.PointFile{No: uint32(i), Key: f.name, Name: f.name, Kind: f.kind, SizeBytes: uint64(len(f.b)), GridBytes: testGrid}, func(yield func(PageRun) bool) {
			for _, r := range runs[i] {
				r.Map = id
				if !yield(r) {
					return
				}
			}
		}))
	}
	sealed, err := EncodePoint(l.ring.Map, l.point)
	l.must(err)
	l.path, err = PathOf(l.ring.Map, l.point)
	l.must(err)
	l.must(w.Small(t.Context(), l.path, sealed))
}

func (l *library) reader() *Reader {
	l.t.Helper()
	l.open()
	r, err := l.v.Reader(l.ring)
	l.must(err)
	return r
}

func (l *library) restored(t *testing.T) ([]byte, error) {
	r := l.reader()
	p, err := r.Point(t.Context(), l.path)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := r.RestoreFile(t.Context(), p, p.Files[0], path, false, nil); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Any m targets may be gone: wiped, down, or damaged in every byte range. With
// one more gone it must be an error, never wrong bytes.
func TestRestoreWithAnyTargetsGone(t *testing.T) {
	for _, how := range []string{"wiped", "down", "flipped"} {
		for a := range 5 {
			for b := a; b < 5; b++ {
				t.Run(fmt.Sprint(how, a, b), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { // who is down is waited for
						l := newLibrary(t, 3, 2)
						l.break_(t, how, slices.Compact([]int{a, b})...)
						got, err := l.restored(t)
						if err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(got, l.disk) {
							t.Error("the restored disk differs")
						}
					})
				})
			}
		}
	}
	l := newLibrary(t, 3, 2)
	l.break_(t, "flipped", 0, 1)
	l.break_(t, "flipped", 2)
	if got, err := l.restored(t); err == nil {
		t.Errorf("three of five targets are damaged, and %d bytes came back without an error", len(got))
	}
}

// break_ does one kind of harm to targets.
func (l *library) break_(t *testing.T, how string, targets ...int) {
	for _, n := range targets {
		switch how {
		case "down":
			l.faults[n].Down(true)
			continue
		case "wiped", "flipped":
			var keys []string
			for i, err := range l.stores[n].List(t.Context(), "") {
				l.must(err)
				keys = append(keys, i.Key)
			}
			for _, k := range keys {
				b, err := l.stores[n].Get(t.Context(), k, 0, -1)
				l.must(err)
				if how == "flipped" && !strings.HasPrefix(k, packsDir) && !strings.HasPrefix(k, mapsDir) {
					continue
				}
				l.must(l.stores[n].Delete(t.Context(), k))
				if how == "flipped" {
					b = bytes.Clone(b)
					for i := 100; i < len(b); i += 1000 {
						b[i] ^= 1
					}
					l.must(l.stores[n].Put(t.Context(), k, b))
				}
			}
		}
	}
}

// A restore that was cut off goes on from what lies there; what differs is mended,
// zero places too.
func TestRestoreGoesOn(t *testing.T) {
	l := newLibrary(t, 2, 1)
	r := l.reader()
	p, err := r.Point(t.Context(), l.path)
	l.must(err)
	path := filepath.Join(t.TempDir(), "sub", "disk")
	l.must(os.MkdirAll(filepath.Dir(path), 0o755))
	torn := bytes.Clone(l.disk[:len(l.disk)/2])
	copy(torn[testGrid*4:], "not zero, as it must be")
	copy(torn[testGrid*9:], "another chunk")
	l.must(os.WriteFile(path+partial, torn, 0o600))
	var written uint64
	l.must(r.RestoreFile(t.Context(), p, p.Files[0], path, false, func(_, n uint64) { written = n }))
	got, err := os.ReadFile(path)
	l.must(err)
	if !bytes.Equal(got, l.disk) {
		t.Error("the restored disk differs")
	}
	if written == 0 || written > uint64(len(l.disk)/2+testGrid) {
		t.Errorf("%d bytes were written: what was there must be read, not restored", written)
	}
	l.must(os.WriteFile(path, []byte("another's"), 0o600))
	err = r.RestoreFile(t.Context(), p, p.Files[0], path, false, func(_, _ uint64) { t.Error("it is restored before it is refused") })
	if got, _ := os.ReadFile(path); !errors.Is(err, os.ErrExist) || string(got) != "another's" {
		t.Errorf("a file was restored over: %v", err)
	}
	link := filepath.Join(t.TempDir(), "disk")
	l.must(os.Symlink(path, link+partial))
	if err := r.RestoreFile(t.Context(), p, p.Files[0], link, false, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file was restored through a link: %v", err)
	}
}

// A restore that was cut off behind its last step is known by its file alone, and
// leaves nothing beside it; a file that differs in one byte is another's.
func TestRestoredIsKnown(t *testing.T) {
	l := newLibrary(t, 2, 1)
	r := l.reader()
	p, err := r.Point(t.Context(), l.path)
	l.must(err)
	path := filepath.Join(t.TempDir(), "disk")
	want := func(is bool, what string) {
		t.Helper()
		if got, err := r.Restored(t.Context(), p, p.Files[0], path); err != nil || got != is {
			t.Errorf("%s: %t, %v", what, got, err)
		}
	}
	want(false, "no file")
	l.must(os.WriteFile(path, l.disk, 0o600))
	l.must(os.Link(path, path+partial))
	want(true, "a whole file")
	if _, err := os.Lstat(path + partial); err == nil {
		t.Error("its other name is left")
	}
	for what, at := range map[string]int{"data": 6 * testGrid, "a hole": 4*testGrid + 7, "the end": len(l.disk) - 1} {
		other := bytes.Clone(l.disk)
		other[at] ^= 1
		l.must(os.WriteFile(path, other, 0o600))
		want(false, what)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, other) {
			t.Errorf("%s: the file was written to: %v", what, err)
		}
	}
	l.must(os.WriteFile(path, append(bytes.Clone(l.disk), 0), 0o600))
	want(false, "one byte more")
}

// A seal says who wrote, not that it is true: what a worker with all keys wrote
// falsely is damage that names its place, and nothing of it is given a name.
func TestFalseWordsUnderRightSeals(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func([]byte) []byte
		bend func(*Page)
		want string
	}{
		"another chunk": {func(b []byte) []byte { b[0] ^= 1; return b }, nil, "the chunk under the name"},
		"another page":  {nil, func(p *Page) { p.No ^= 1 }, "it says that it is page"},
		"another byte":  {nil, func(p *Page) { p.Start += testGrid }, "it begins at byte"},
	} {
		t.Run(name, func(t *testing.T) {
			l := bentLibrary(t, 1, 0, c.lie, c.bend)
			if _, err := l.restored(t); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "disk0.raw") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A name as long as a file system takes can be backed up, so it must come back.
func TestLongNamesComeBack(t *testing.T) {
	l := newLibrary(t, 1, 0)
	r := l.reader()
	p, err := r.Point(t.Context(), l.path)
	l.must(err)
	dir := t.TempDir()
	for _, n := range []int{nameMax - len(partial), nameMax - len(partial) + 1, nameMax} {
		path := filepath.Join(dir, strings.Repeat("n", n))
		l.must(r.RestoreFile(t.Context(), p, p.Files[0], path, false, nil))
		got, err := os.ReadFile(path)
		l.must(err)
		if !bytes.Equal(got, l.disk) {
			t.Errorf("the file of a name of %d bytes differs", n)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 3 {
		t.Errorf("%d files are left of 3, %v", len(all), err)
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	l := newLibrary(t, 3, 2)
	look := func(deep bool) *Verified {
		v, err := l.reader().Verify(t.Context(), []string{l.path}, deep)
		l.must(err)
		return v
	}
	if v := look(true); !v.Whole() || v.Packs != len(l.packs) || v.Shards != 5*(len(l.packs)+1) {
		t.Fatalf("a whole vault: %+v", v)
	}
	l.must(l.stores[3].Delete(t.Context(), ShardKey(l.packs[0], false, 3, 0)))
	if v := look(false); len(v.Missing) != 1 || v.Missing[0].Shard != 3 || len(v.Lost) != 0 {
		t.Errorf("one shard is gone: %+v", v)
	}
	for _, n := range []int{1, 2} {
		l.must(l.stores[n].Delete(t.Context(), ShardKey(l.packs[1], false, uint8(n), 0)))
	}
	if v := look(false); len(v.Missing) != 3 || len(v.Lost) != 0 {
		t.Errorf("two shards of one pack are gone, which it may lose: %+v", v)
	}
	l.must(l.stores[4].Delete(t.Context(), ShardKey(l.packs[1], false, 4, 0)))
	if v := look(false); len(v.Missing) != 4 || len(v.Lost) != 1 || !strings.Contains(v.Lost[0].Why, "2 sound shards, 3 are needed") {
		t.Errorf("three shards of one pack are gone: %+v", v)
	}
	l = newLibrary(t, 3, 2)
	l.must(l.stores[3].Delete(t.Context(), ShardKey(l.packs[0], false, 3, 0)))
	l.break_(t, "flipped", 1)
	if v := look(true); len(v.Damaged) != len(l.packs)+1 || len(v.Lost) != 0 {
		t.Errorf("a target is damaged: %+v", v)
	}
}

func TestWrongKeysAreSaid(t *testing.T) {
	l := newLibrary(t, 2, 1)
	right := *l.ring
	other, err := NewRing()
	l.must(err)
	l.ring = other
	if _, err := l.restored(t); !errors.Is(err, ErrDamaged) {
		t.Errorf("another map key: %v", err)
	}
	mixed := right
	mixed.Private, mixed.Public = other.Private, other.Public
	l.ring = &mixed
	if _, err := l.restored(t); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another private key: %v", err)
	}
	blind := right
	blind.Private = nil
	l.ring = &blind
	if _, err := l.restored(t); !errors.Is(err, ErrNoKey) {
		t.Errorf("no private key: %v", err)
	}
	l.ring = &right
	if _, err := l.reader().Point(t.Context(), "points/1/x/y"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("no point: %v", err)
	}
}
