package auditor

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// world is a machine's backup as the other stages see it: what each place truly
// holds, the base it is read against, and every record that tells of it.
type world struct {
	leased *schemas.BackupLeased
	base   *base
	store  map[vault.PackID][]vault.Page // map packs by slot
	truth  map[uint32][]vault.PagePlace  // by file, by place; ids only
	sizes  map[uint32]uint64

	cuts  []*schemas.ExtentCut
	said  []answers
	facts []*schemas.FileExported
	// claimed by change tracking and read all the same; and of these, not as the base has them
	claimed, lied uint64
}

const testGrid = 4096

const testVia = "nfc" // how every file of a world was read

func testID(what string, a, b uint64) (id cut.ID) {
	copy(id[:], what)
	binary.BigEndian.PutUint64(id[16:], a)
	binary.BigEndian.PutUint64(id[24:], b)
	return id
}

func testPack(what byte, n uint64) vault.PackID {
	p := vault.PackID{Birth: 1}
	p.ID[0] = what
	binary.BigEndian.PutUint64(p.ID[8:], n)
	return p
}

func chunk(id cut.ID, n uint64) vault.PagePlace {
	return vault.PagePlace{Kind: vault.PlaceChunk, ID: id, Pack: testPack('p', n%3), Offset: uint32(n) * 100, Framed: 90}
}

var testBackup, testLease, baseLease = schemas.UUID{1}, schemas.UUID{2}, schemas.UUID{3}

// newWorld draws a machine of up to files disks of up to pages pages.
func newWorld(t *rapid.T, files, pages int) *world {
	w := &world{store: map[vault.PackID][]vault.Page{}, truth: map[uint32][]vault.PagePlace{}, sizes: map[uint32]uint64{},
		leased: &schemas.BackupLeased{Verb: schemas.BackupLeased_VERB_LEASED, Run: &schemas.Run{Backup: testBackup.Bytes(), Attempt: 1, Lease: testLease.Bytes(), Epoch: 1},
			Machine: &schemas.Machine{Source: "s", Id: "m", Name: "m"}, Job: &schemas.Job{Id: testBackup.Bytes(), Of: 1}}}
	n := rapid.IntRange(1, files).Draw(t, "files")
	sizes := make([]uint64, n)
	for i := range sizes {
		sizes[i] = uint64(rapid.IntRange(0, pages*64*testGrid).Draw(t, "size"))
	}
	if rapid.Bool().Draw(t, "based") {
		w.newBase(t, sizes)
	}
	for i, size := range sizes {
		w.file(t, uint32(i), size)
	}
	fin := &schemas.Finished{Files: uint32(n), SnapshotId: "snap", Consistency: schemas.Consistency_CONSISTENCY_CRASH}
	if w.base != nil {
		fin.BaseLease = baseLease.Bytes()
	}
	w.facts = append(w.facts, &schemas.FileExported{Run: w.leased.Run, Finished: fin})
	return w
}

// newBase makes a point with the same files, as they were.
func (w *world) newBase(t *rapid.T, sizes []uint64) {
	p := &vault.Point{Run: &schemas.Run{Backup: testBackup.Bytes(), Lease: baseLease.Bytes(), Epoch: 1}, Machine: w.leased.Machine}
	to := vault.NewPointBuilder(p)
	w.leased.Base = &schemas.Point{Path: "points/base", Lease: baseLease.Bytes(), Epoch: 1}
	for i, size := range sizes {
		s := shape{size, testGrid}
		var runs []vault.PageRun
		for no := range uint32(s.pages()) {
			if rapid.IntRange(0, 3).Draw(t, "base page") == 0 {
				runs = append(runs, vault.PageRun{First: no, Count: 1})
				continue
			}
			pg := vault.Page{No: no, Start: s.start(no), Places: make([]vault.PagePlace, s.places(no))}
			for j := range pg.Places {
				pg.Places[j] = chunk(testID("base", uint64(i), uint64(no)*64+uint64(j)), uint64(j))
				if j%5 == 4 {
					pg.Places[j] = vault.PagePlace{Kind: vault.PlaceZero}
				}
			}
			m := testPack('b', uint64(no%2))
			runs = append(runs, vault.PageRun{First: no, Count: 1, Map: m, Slot: uint32(len(w.store[m]))})
			w.store[m] = append(w.store[m], pg)
		}
		f := &schemas.PointFile{No: uint32(i), Key: fmt.Sprint("k", i), SizeBytes: size, GridBytes: testGrid}
		if err := to.File(f, func(yield func(vault.PageRun) bool) {
			for _, r := range runs {
				if !yield(r) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		w.leased.Base.Files = append(w.leased.Base.Files, &schemas.BaseFile{Key: f.Key, No: f.No, SizeBytes: size, GridBytes: testGrid})
	}
	w.base = newBase("points/base", p)
}

// basePage is a page of the base; nil: it is all zero.
func (w *world) basePage(file, no uint32) *vault.Page {
	for r := range w.base.files[file].runs(no, 1) {
		if !r.Map.IsZero() {
			return &w.store[r.Map][r.Slot]
		}
	}
	s := w.base.files[file].shape
	p := &vault.Page{No: no, Places: make([]vault.PagePlace, s.places(no))}
	for i := range p.Places {
		p.Places[i].Kind = vault.PlaceZero
	}
	return p
}

// file draws what became of each page and the records that say so.
func (w *world) file(t *rapid.T, no uint32, size uint64) {
	s := shape{size, testGrid}
	w.sizes[no] = size
	fact := &schemas.FileExported{Run: w.leased.Run, File: no, Key: fmt.Sprint("k", no), Name: fmt.Sprint("disk", no),
		Kind: schemas.FileExported_KIND_DISK, SizeBytes: size, GridBytes: testGrid, HasBase: w.base != nil, BaseFile: no, Via: testVia}
	var ext *schemas.ExtentCut
	for pg := range uint32(s.pages()) {
		what := schemas.PageRun_What(rapid.IntRange(1, 3).Draw(t, "what"))
		if what == schemas.PageRun_WHAT_INHERITED && w.base == nil {
			what = schemas.PageRun_WHAT_ZERO
		}
		if n := len(fact.Runs); n > 0 && fact.Runs[n-1].What == what {
			fact.Runs[n-1].Count++
		} else {
			fact.Runs = append(fact.Runs, &schemas.PageRun{First: pg, Count: 1, What: what})
		}
		places := make([]vault.PagePlace, s.places(pg))
		switch what {
		case schemas.PageRun_WHAT_EXPORTED:
			if ext == nil || len(ext.Pages) == 3 {
				ext = w.extent(no, s)
			}
			w.page(t, ext, pg, places)
		case schemas.PageRun_WHAT_ZERO:
			for i := range places {
				places[i].Kind = vault.PlaceZero
			}
		default:
			copy(places, w.basePage(no, pg).Places)
		}
		w.truth[no] = append(w.truth[no], places...)
	}
	if len(fact.Runs) < 2 {
		w.facts = append(w.facts, fact)
		return
	}
	for i, runs := range [][]*schemas.PageRun{fact.Runs[:1], fact.Runs[1:]} {
		part := &schemas.FileExported{Run: fact.Run, File: no, Key: fact.Key, Name: fact.Name, Kind: fact.Kind, SizeBytes: size,
			GridBytes: testGrid, HasBase: fact.HasBase, BaseFile: no, Runs: runs, Part: uint32(i), Parts: 2, Via: testVia}
		w.facts = append(w.facts, part)
	}
}

func (w *world) extent(file uint32, s shape) *schemas.ExtentCut {
	e := &schemas.ExtentCut{Run: w.leased.Run, SnapshotId: "snap", File: file, HasBase: w.base != nil, BaseFile: file,
		FileBytes: s.size, GridBytes: s.grid}
	for _, c := range w.cuts {
		if c.File == file {
			e.Extent++
		}
	}
	w.cuts = append(w.cuts, e)
	return e
}

// page draws one exported page: its places, their chunks and the answers for them.
func (w *world) page(t *rapid.T, e *schemas.ExtentCut, no uint32, places []vault.PagePlace) {
	cp := &schemas.CutPage{No: no}
	base := []vault.PagePlace{}
	if w.base != nil {
		base = w.basePage(e.File, no).Places
	}
	kinds := rapid.SampledFrom([]string{"d", "z", "dz", "di", "zi", "dzi", "du", "uz"}).Draw(t, "places")
	claims := uint64(0)
	if w.base != nil {
		claims = rapid.SampledFrom([]uint64{0, ^uint64(0), 0xaaaa_aaaa_aaaa_aaaa}).Draw(t, "claims")
	}
	var at []uint64
	var ids []byte
	for i := range places {
		bit := uint64(1) << i
		switch kind := kinds[(i*7+int(no))%len(kinds)]; {
		case kind == 'i' && w.base != nil:
			places[i] = base[i]
		case kind == 'u' && w.base != nil && base[i].Kind == vault.PlaceChunk: // read, and as it was
			cp.Data |= bit
			places[i] = base[i]
			at, ids = append(at, uint64(no)*64+uint64(i)), append(ids, places[i].ID[:]...)
		case kind == 'd':
			cp.Data |= bit
			places[i] = chunk(testID("new", uint64(e.File), uint64(no)*64+uint64(i)), uint64(i))
			at, ids = append(at, uint64(no)*64+uint64(i)), append(ids, places[i].ID[:]...)
		default:
			cp.Zero |= bit
			places[i].Kind = vault.PlaceZero
		}
	}
	cp.Claimed = claims & (cp.Data | cp.Zero)
	for i := range places {
		if cp.Claimed&(1<<i) != 0 {
			w.claimed++
			if places[i].ID != base[i].ID { // of a zero: none
				w.lied++
			}
		}
	}
	d := cut.PageDigest(at, ids)
	cp.Digest = d[:]
	e.Pages = append(e.Pages, cp)
	for part := range 2 { // a page's places come from two deduper partitions
		w.answer(e, cp, places, part)
	}
}

func (w *world) answer(e *schemas.ExtentCut, cp *schemas.CutPage, places []vault.PagePlace, part int) {
	r := answers{ext: extentID{e.File, e.Extent}, fresh: part == 1, places: &schemas.Places{}, took: took{lookup: 1}}
	for d := cp.Data; d != 0; d &= d - 1 {
		i := bits.TrailingZeros64(d)
		if i%2 != part {
			continue
		}
		c, p := places[i], r.places
		p.Places = append(p.Places, uint64(cp.No)*64+uint64(i))
		p.Ids = append(p.Ids, c.ID[:]...)
		p.Packs = append(p.Packs, c.Pack.Proto())
		p.Pack = append(p.Pack, uint32(len(p.Packs)-1))
		p.Offsets = append(p.Offsets, c.Offset)
		p.Framed = append(p.Framed, c.Framed)
	}
	if len(r.places.Places) > 0 {
		w.said = append(w.said, r)
	}
}

// truthOf is a file of pages that are all data.
func truthOf(pages uint32) map[uint32][]vault.PagePlace {
	out := make([]vault.PagePlace, pages*64)
	for i := range out {
		out[i] = chunk(testID("new", 0, uint64(i)), uint64(i))
	}
	return map[uint32][]vault.PagePlace{0: out}
}

// dataPage adds a page to an extent whose places are these chunks.
func (w *world) dataPage(e *schemas.ExtentCut, no uint32, places []vault.PagePlace) {
	cp := &schemas.CutPage{No: no}
	var at []uint64
	var ids []byte
	for i, p := range places {
		cp.Data |= 1 << i
		at, ids = append(at, uint64(no)*64+uint64(i)), append(ids, p.ID[:]...)
	}
	d := cut.PageDigest(at, ids)
	cp.Digest = d[:]
	e.Pages = append(e.Pages, cp)
	for part := range 2 {
		w.answer(e, cp, places, part)
	}
}
