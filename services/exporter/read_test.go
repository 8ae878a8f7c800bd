package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
)

const testGrid = cut.GridMin // a page is 256 KiB: many of them in a small file

// point is what the later stages make of an export: the bytes of each file.
type point struct {
	lease schemas.UUID
	files map[string][]byte
	base  map[string]*schemas.BaseFile
}

// catcher plays all later stages: it believes only what the records say.
type catcher struct {
	t       *testing.T
	base    *point
	out     *point
	extents map[string]*schemas.ExtentExported
	blobs   map[string][]byte
	data    int64
	cursors []*schemas.Cursor
	stopAt  int // cursors before it fails; 0: never
	told    map[string]*schemas.FileExported
}

var errStop = errors.New("killed")

func (c *catcher) extent(_ context.Context, e *schemas.ExtentExported, blob []byte) error {
	name := fmt.Sprintf("%d/%d", e.File, e.Extent)
	if old := c.extents[name]; old != nil {
		was, is := proto.CloneOf(old), proto.CloneOf(e)
		was.ReadUs, is.ReadUs = 0, 0
		if !proto.Equal(was, is) || !bytes.Equal(c.blobs[name], blob) {
			c.t.Errorf("extent %s is cut otherwise after a crash", name)
		}
	}
	if len(blob) > cut.ExtentBytes || len(blob) != int(e.LengthBytes) {
		c.t.Errorf("extent %s: %d bytes", name, len(blob))
	}
	if !bytes.Equal(digests(blob), e.Digests) {
		c.t.Errorf("extent %s: wrong digests", name)
	}
	c.extents[name], c.blobs[name] = proto.CloneOf(e), bytes.Clone(blob)
	c.data += int64(len(blob))
	return nil
}

func (c *catcher) file(_ context.Context, f *schemas.FileExported) error {
	if f.Part > 0 {
		f = proto.CloneOf(f)
		f.Runs = append(c.told[f.Key].Runs, f.Runs...)
	}
	c.told[f.Key] = f
	return nil
}

func (c *catcher) reached(_ context.Context, cur *schemas.Cursor) error {
	c.cursors = append(c.cursors, cur)
	if c.stopAt > 0 && len(c.cursors) == c.stopAt {
		return errStop
	}
	return nil
}

// restore builds each file from runs, extents and the base's bytes.
func (c *catcher) restore() {
	for key, f := range c.told {
		out := make([]byte, f.SizeBytes)
		shape := shape{size: int64(f.SizeBytes), grid: int64(f.GridBytes)}
		put := func(place int64, b []byte) { copy(out[place*shape.grid:], b) }
		var base []byte
		if f.HasBase {
			base = c.base.files[key]
		}
		inherit := func(place int64) {
			lo := place * shape.grid
			hi := min(lo+shape.grid, shape.size)
			if hi > int64(len(base)) || hi-lo < shape.grid && hi != int64(len(base)) {
				c.t.Errorf("%s: place %d is inherited, the base ends at %d", key, place, len(base))
				return
			}
			put(place, base[lo:hi])
		}
		exported := map[uint32]bool{}
		at := uint32(0)
		for _, r := range f.Runs {
			if r.First != at || r.Count == 0 {
				c.t.Errorf("%s: run at %d+%d, want %d", key, r.First, r.Count, at)
			}
			at = r.First + r.Count
			for no := r.First; no < at; no++ {
				switch r.What {
				case schemas.PageRun_WHAT_EXPORTED:
					exported[no] = true
				case schemas.PageRun_WHAT_INHERITED:
					if b := (int64(len(base)) + shape.grid - 1) / shape.grid; upTo(no, b) != shape.whole(no) {
						c.t.Errorf("%s: page %d is inherited whole from one of another length", key, no)
					}
					for p := int64(no) * 64; p < min(int64(no+1)*64, shape.places()); p++ {
						inherit(p)
					}
				}
			}
		}
		if at != shape.pages() {
			c.t.Errorf("%s: %d pages told, want %d", key, at, shape.pages())
		}
		for name, e := range c.extents {
			if e.File != f.File {
				continue
			}
			blob := c.blobs[name]
			for _, p := range e.Pages {
				if !exported[p.No] {
					c.t.Errorf("%s: page %d is in an extent and told as none", key, p.No)
				}
				delete(exported, p.No)
				for i := range int64(64) {
					place := int64(p.No)*64 + i
					bit := uint64(1) << i
					switch {
					case place >= shape.places():
					case p.Data&bit != 0:
						n := min(shape.grid, shape.size-place*shape.grid)
						put(place, blob[:n])
						blob = blob[n:]
					case p.Zero&bit == 0:
						inherit(place)
					}
				}
			}
			if len(blob) > 0 {
				c.t.Errorf("%s: %d bytes too many in extent %s", key, len(blob), name)
			}
		}
		for no := range exported {
			c.t.Errorf("%s: page %d is told as exported, no extent has it", key, no)
		}
		c.out.files[key] = out
		c.out.base[key] = &schemas.BaseFile{Key: key, No: f.File, SizeBytes: f.SizeBytes, GridBytes: f.GridBytes, ChangeId: f.ChangeId}
	}
}

// tracking turns a folder of images into a source that tracks changes: it
// compares with the bytes that the base had.
type tracking struct {
	source.Snapshot
	base map[string][]byte
	dir  string
	lie  func(off int) bool // which changes it hides

	blind bool // it says that nothing is allocated
}

func (s tracking) Files() []source.File {
	all := s.Snapshot.Files()
	for i := range all {
		all[i].ChangeID = "now"
	}
	return all
}

func (s tracking) Changed(ctx context.Context, f source.File, since string) iter.Seq2[source.Range, error] {
	if since == "" {
		if s.blind {
			return func(func(source.Range, error) bool) {}
		}
		return s.Snapshot.Changed(ctx, f, "")
	}
	return func(yield func(source.Range, error) bool) {
		now, err := os.ReadFile(filepath.Join(s.dir, f.Key))
		if err != nil {
			yield(source.Range{}, err)
			return
		}
		before := s.base[f.Key]
		const step = 1000 // on no grid
		for off := 0; off < len(now); off += step {
			a, b := now[off:min(off+step, len(now))], make([]byte, min(step, len(now)-off))
			if off < len(before) {
				copy(b, before[off:])
			}
			if !bytes.Equal(a, b) && (s.lie == nil || !s.lie(off)) && !yield(source.Range{Off: int64(off), Len: int64(len(a))}, nil) {
				return
			}
		}
	}
}

type world struct {
	t       *testing.T
	root    string
	logs    pagelog.Logs
	tracked bool
	check   string
	lie     func(off int) bool
	blind   bool
}

func (w *world) path(key string) string { return filepath.Join(w.root, "vm", key) }

// export reads the machine on a base, killed at some cursors, and restores it.
func (w *world) export(base *point, kills int) (*point, *catcher) {
	t := w.t
	t.Helper()
	ctx := context.Background()
	src, err := images.Open(w.root, images.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := &point{files: map[string][]byte{}, base: map[string]*schemas.BaseFile{}}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range out.lease {
		out.lease[i] = byte(rnd.Uint32())
	}
	if base != nil {
		out.lease[0]++
	}
	c := &catcher{t: t, base: base, out: out, extents: map[string]*schemas.ExtentExported{}, blobs: map[string][]byte{}, told: map[string]*schemas.FileExported{}}
	log, made := w.logs.Create(out.lease)
	var from *schemas.Cursor
	var name string
	var bytesLogged int64
	for {
		if made != nil {
			t.Fatal(made)
		}
		snap, err := src.Prepare(ctx, source.Order{Machine: "vm"})
		if err != nil {
			t.Fatal(err)
		}
		r := &reading{run: &schemas.Run{}, source: "s", snap: snap, grid: testGrid, log: log, from: from, sink: c, now: time.Now, limits: limits{cut.ExtentBytes, 4 << 20, 2}, buf: make([]byte, bufBytes(cut.ExtentBytes, testGrid))}
		if base != nil {
			r.base = base.base
			if w.tracked {
				r.snap, r.check = tracking{snap, base.files, filepath.Join(w.root, "vm"), w.lie, w.blind}, w.check
			} else if r.digest, err = w.logs.Open(base.lease); err != nil {
				t.Fatal(err)
			}
		} else if w.tracked {
			r.snap = tracking{Snapshot: snap}
		}
		c.stopAt = 0
		if len(c.cursors) < kills {
			c.stopAt = len(c.cursors) + 1
		}
		err = r.all(ctx)
		if !errors.Is(err, errStop) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		// The cursor and the log's length go together, as one row.
		name = log.Name()
		bytesLogged, _ = log.Flush()
		log.Page(pagelog.Page{No: 1 << 30}) // what a dead process wrote behind it
		log.Flush()
		log.Close()
		from = c.cursors[len(c.cursors)-1]
		log, made = w.logs.Resume(out.lease, name, bytesLogged)
	}
	if err := log.Seal(); err != nil {
		t.Fatal(err)
	}
	c.restore()
	for key := range c.told {
		want, err := os.ReadFile(w.path(key))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.out.files[key], want) {
			t.Errorf("%s is not what it was", key)
		}
	}
	return out, c
}

// change writes at random, cuts and lengthens a file.
func (w *world) change(rnd *rand.Rand, key string, resize bool) {
	f, err := os.OpenFile(w.path(key), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	size := info.Size()
	if resize {
		size = rnd.Int64N(40 << 20)
		if rnd.IntN(3) == 0 {
			size &^= testGrid - 1
		}
		if rnd.IntN(8) == 0 {
			size = int64(rnd.IntN(3))
		}
		f.Truncate(size)
	}
	for range rnd.IntN(12) {
		if size == 0 {
			return
		}
		b := make([]byte, 1+rnd.IntN(1<<rnd.IntN(22)))
		if rnd.IntN(2) == 0 { // whole places
			b = make([]byte, testGrid*(1+rnd.IntN(80)))
		}
		if rnd.IntN(3) > 0 {
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
		}
		off := rnd.Int64N(size)
		if rnd.IntN(2) == 0 {
			off &^= testGrid*64 - 1
		}
		f.WriteAt(b[:min(int64(len(b)), size-off)], off)
	}
}

// Goal: whatever happens to the disks between two backups and to the exporter in
// them, the records make up the bytes. Method: random disks on a small grid, two
// backups, the second on the first, each killed at its cursors and taken up from
// what a row holds; a catcher that plays the later stages rebuilds the files.
func TestRecordsMakeUpTheBytes(t *testing.T) {
	for seed := range uint64(seeds(t, 24)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			dir := t.TempDir()
			w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm"), tracked: seed%2 == 1}
			os.MkdirAll(w.path(""), 0o700)
			for _, key := range []string{"a.raw", "b.raw", "c.xml"} {
				w.change(rnd, key, true)
			}
			first, _ := w.export(nil, rnd.IntN(3))
			w.change(rnd, "a.raw", rnd.IntN(2) == 0)
			w.change(rnd, "b.raw", false)
			w.change(rnd, "a0.raw", true) // moves the numbers
			w.export(first, rnd.IntN(3))
		})
	}
}

// The corners of what may be inherited: a place that turned zero, and files that
// end elsewhere than their base did, although no byte that both have changed.
func TestCornersOfInheritance(t *testing.T) {
	const page = 64 * testGrid
	for name, c := range map[string]struct {
		before, after int // bytes that are not zero
		size          int // of the second file, the rest of which is zero
		zero          int // a place that turns zero
	}{
		"a place turns zero":        {2 * page, 2 * page, 2 * page, 5},
		"grows by zeros":            {10*testGrid + 77, 10*testGrid + 77, 20 * testGrid, -1},
		"grows by zeros from grid":  {10 * testGrid, 10 * testGrid, 20 * testGrid, -1},
		"grows by zeros from page":  {page, page, page + 9, -1},
		"shrinks into a place":      {20 * testGrid, 10*testGrid + 77, 10*testGrid + 77, -1},
		"shrinks to the grid":       {20 * testGrid, 10 * testGrid, 10 * testGrid, -1},
		"shrinks to a page":         {2*page + 5, page, page, -1},
		"shrinks to nothing":        {page, 0, 0, -1},
		"grows from nothing":        {0, page, page + 1, -1},
		"the short end is the same": {page + 5, page + 5, page + 5, -1},
	} {
		for _, tracked := range []bool{false, true} {
			t.Run(fmt.Sprint(name, tracked), func(t *testing.T) {
				dir := t.TempDir()
				w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm"), tracked: tracked}
				os.MkdirAll(w.path(""), 0o700)
				b := make([]byte, max(c.before, c.after))
				rand.NewChaCha8([32]byte{}).Read(b)
				os.WriteFile(w.path("a.raw"), b[:c.before], 0o600)
				first, _ := w.export(nil, 0)
				if c.zero >= 0 {
					clear(b[c.zero*testGrid:][:testGrid])
				}
				os.WriteFile(w.path("a.raw"), b[:c.after], 0o600)
				os.Truncate(w.path("a.raw"), int64(c.size))
				_, got := w.export(first, 0)
				if most := int64(2 * testGrid); c.before > 0 && got.data > most {
					t.Errorf("%d bytes are exported, want two places at most", got.data)
				}
			})
		}
	}
}

// A second backup exports what changed and no more.
func TestOnlyChangedPlacesGo(t *testing.T) {
	dir := t.TempDir()
	w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm")}
	os.MkdirAll(w.path(""), 0o700)
	b := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	os.WriteFile(w.path("a.raw"), b, 0o600)
	first, c := w.export(nil, 0)
	if c.data != int64(len(b)) {
		t.Errorf("full export of %d bytes, want %d", c.data, len(b))
	}
	b[1<<20]++
	b[2<<20]++
	os.WriteFile(w.path("a.raw"), b, 0o600)
	_, c = w.export(first, 0)
	if c.data != 2*testGrid {
		t.Errorf("second export of %d bytes, want two places, %d", c.data, 2*testGrid)
	}
	_, c = w.export(first, 0)
	if runs := c.told["a.raw"].Runs; len(runs) != 5 {
		t.Errorf("runs of the third export: %v", runs)
	}
}

// A torn log of the base proves nothing, so nothing is inherited by it.
func TestTornLogIsExportedAnew(t *testing.T) {
	dir := t.TempDir()
	w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm")}
	os.MkdirAll(w.path(""), 0o700)
	b := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	os.WriteFile(w.path("a.raw"), b, 0o600)
	first, _ := w.export(nil, 0)
	files, _ := filepath.Glob(filepath.Join(dir, "pages", "*", "*"))
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteAt(make([]byte, 2000), 4000)
	os.Remove(filepath.Join(dir, "pages", "x"))
	_, c := w.export(first, 0)
	if want := int64(len(b) - 3*64*testGrid); c.data != want {
		t.Errorf("%d bytes are exported, want all behind the tear: %d", c.data, want)
	}
}

func digests(blob []byte) []byte { return cut.NewDigester([32]byte{}).Blocks(nil, blob, testGrid) }
