//go:build synctests

package restorer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/blob/mem"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	testGrid = 4 << 10
	pageSize = cut.PagePlaces * testGrid
)

// library is a vault of 1+1 with one point, whose files are known: a disk with a
// chunk in each of its pages, over several of the windows that a restore tells its
// progress after, and a small file.
type library struct {
	stores [2]*mem.Store
	ring   *vault.Ring
	files  map[string][]byte
	point  string
}

func newLibrary(t *testing.T) *library { return newLibraryOf(t, 150) }

// newLibraryOf has a disk of so many pages and a bit.
func newLibraryOf(t *testing.T, pages int) *library {
	t.Helper()
	l := &library{files: map[string][]byte{"disk0.raw": make([]byte, pages*pageSize+1234), "domain.xml": []byte("<domain/>")}}
	rng := rand.NewChaCha8([32]byte{7})
	disk := l.files["disk0.raw"]
	for at := 0; at < len(disk); at += pageSize {
		rng.Read(disk[at:min(at+testGrid, len(disk))])
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	l.ring, err = vault.NewRing()
	must(err)
	ctx := context.Background()
	for i := range l.stores {
		l.stores[i] = mem.New()
	}
	targets := l.targets()
	must(vault.Init(ctx, targets, vault.Settings{Name: "v", Region: stagetest.Region, GridBytes: testGrid, Compression: "none", K: 1, M: 1}, nil))
	v, err := vault.Open(ctx, targets)
	must(err)
	w, err := vault.NewWriter(v, vault.WriterOptions{Region: stagetest.Region})
	must(err)
	defer w.Close()
	must(l.fill(ctx, w))
	return l
}

func (l *library) targets() (ts []vault.Target) {
	for i, s := range l.stores {
		ts = append(ts, vault.Target{Name: fmt.Sprint("t", i), Store: s})
	}
	return ts
}

// fill writes the packs, the map pack and the point.
func (l *library) fill(ctx context.Context, w *vault.Writer) error {
	pages, err := vault.NewMapBuilder(l.ring.Map, vault.MapBuilderOptions{})
	if err != nil {
		return err
	}
	p := &vault.Point{Run: &schemas.Run{Backup: bytes.Repeat([]byte{1}, 16), Attempt: 1, Lease: bytes.Repeat([]byte{2}, 16), Epoch: 1},
		Machine: &schemas.Machine{Source: "s", Id: "m", Name: "m"}, Totals: &schemas.Totals{}}
	slots := map[string]uint32{}
	for _, name := range []string{"disk0.raw", "domain.xml"} {
		first, err := l.file(ctx, w, pages, l.files[name])
		if err != nil {
			return err
		}
		slots[name] = first
	}
	maps, body, err := pages.Close(1)
	if err != nil {
		return err
	}
	if err := land(ctx, w, maps, true, body); err != nil {
		return err
	}
	b := vault.NewPointBuilder(p)
	for no, name := range []string{"disk0.raw", "domain.xml"} {
		size := uint64(len(l.files[name]))
		run := vault.PageRun{Count: uint32(vault.Pages(size, testGrid)), Map: maps, Slot: slots[name]}
		f := &schemas.PointFile{No: uint32(no), Key: name, Name: name, SizeBytes: size, GridBytes: testGrid, Kind: schemas.FileExported_KIND_DISK}
		if name == "domain.xml" {
			f.Kind = schemas.FileExported_KIND_CONFIG
		}
		if err := b.File(f, func(yield func(vault.PageRun) bool) { yield(run) }); err != nil {
			return err
		}
	}
	sealed, err := vault.EncodePoint(l.ring.Map, p)
	if err != nil {
		return err
	}
	if l.point, err = vault.PathOf(l.ring.Map, p); err != nil {
		return err
	}
	return w.Small(ctx, l.point, sealed)
}

// file packs one file, 20 chunks a pack, and files its pages; it returns the slot
// of the first.
func (l *library) file(ctx context.Context, w *vault.Writer, pages *vault.MapBuilder, file []byte) (first uint32, err error) {
	namer, known := cut.NewNamer(l.ring.Name), map[cut.ID]vault.PagePlace{}
	var b *vault.Builder
	flush := func() error {
		id, body, entries, err := b.Close(1)
		if err != nil {
			return err
		}
		for _, e := range entries {
			known[e.ID] = vault.PagePlace{Kind: vault.PlaceChunk, ID: e.ID, Pack: id, Offset: e.Offset, Framed: e.Framed}
		}
		b = nil
		return land(ctx, w, id, false, body)
	}
	for at := 0; at < len(file); at += pageSize {
		if b == nil {
			if b, err = vault.NewBuilder(l.ring, vault.BuilderOptions{}); err != nil {
				return 0, err
			}
		}
		plain := file[at:min(at+testGrid, len(file))]
		if _, err := b.Add(namer.ID(plain), plain); err != nil {
			return 0, err
		}
		if len(b.Entries()) == 20 || at+pageSize >= len(file) {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	for at := 0; at < len(file); at += pageSize {
		p := vault.Page{No: uint32(at / pageSize), Start: uint64(at), Places: []vault.PagePlace{known[namer.ID(file[at:min(at+testGrid, len(file))])]}}
		for more := at + testGrid; more < min(at+pageSize, len(file)); more += testGrid {
			p.Places = append(p.Places, vault.PagePlace{Kind: vault.PlaceZero})
		}
		slot, err := pages.Add(p)
		if err != nil {
			return 0, err
		}
		if at == 0 {
			first = slot
		}
	}
	return first, nil
}

func land(ctx context.Context, w *vault.Writer, id vault.PackID, mapPack bool, body []byte) error {
	landed, err := w.Pack(ctx, id, mapPack, body)
	if err == nil {
		<-landed.Done()
	}
	return err
}

// flip damages every shard of every pack of chunks, in its last half.
func (l *library) flip(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	for _, s := range l.stores {
		var keys []string
		for i, err := range s.List(ctx, "packs/") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, i.Key)
		}
		if len(keys) == 0 || !strings.HasPrefix(keys[0], "packs/") {
			t.Fatal("there are no packs to damage")
		}
		for _, k := range keys {
			b, err := s.Get(ctx, k, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.Clone(b)
			b[len(b)/3] ^= 1
			if err := s.Delete(ctx, k); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(ctx, k, b); err != nil {
				t.Fatal(err)
			}
		}
	}
}
