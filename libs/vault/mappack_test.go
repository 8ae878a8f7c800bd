package vault

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// fullPage is a page of 64 chunks in n packs.
func fullPage(no uint32, n int) Page {
	p := Page{No: no, Start: uint64(no) << 22, Places: make([]PagePlace, cut.PagePlaces)}
	for i := range p.Places {
		p.Places[i] = PagePlace{Kind: PlaceChunk, ID: cut.ID(noise(byte(i), 32)), Pack: PackID{uint64(i % n), [16]byte{byte(i % n), 1}}, Offset: uint32(i) * 30000, Framed: 30000}
	}
	return p
}

func buildMap(t testing.TB, pages ...Page) (PackID, []byte) {
	t.Helper()
	b, err := NewMapBuilder(testRing(t).Map, MapBuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pages {
		if slot, err := b.Add(p); err != nil || slot != uint32(i) {
			t.Fatalf("slot %d: %v", slot, err)
		}
	}
	n := b.Len()
	id, data, err := b.Close(4)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != n || id.Birth != 4 {
		t.Fatalf("%s has %d bytes, it said %d", id, len(data), n)
	}
	return id, data
}

func readMap(mapKey [32]byte, id PackID, data []byte) (pages []Page, heads []PageHead, err error) {
	t, more, err := ReadMapTail(mapKey, data, int64(len(data)), id)
	if err != nil {
		return nil, nil, err
	}
	if more != 0 {
		return nil, nil, errors.New("more of all")
	}
	for i := range uint32(t.Slots()) {
		off, n, err := t.Slot(i)
		if err != nil {
			return nil, nil, err
		}
		p, err := t.Open(i, data[off:off+n])
		if err != nil {
			return nil, nil, err
		}
		pages = append(pages, p)
	}
	off, n := t.Heads()
	heads, err = t.OpenHeads(data[off : off+n])
	return pages, heads, err
}

func TestMapPackComesBack(t *testing.T) {
	want := []Page{fullPage(0, 1), fullPage(7, 64), {No: 9, Places: []PagePlace{{Kind: PlaceZero}, {}, {Kind: PlaceChunk, Framed: 77, Pack: PackID{3, [16]byte{3}}}}}}
	id, data := buildMap(t, want...)
	pages, heads, err := readMap(testRing(t).Map, id, data)
	if err != nil || !reflect.DeepEqual(pages, want) {
		t.Fatalf("pages %+v: %v", pages, err)
	}
	for i := range want {
		h, _, err := want[i].head()
		if err != nil || !reflect.DeepEqual(heads[i], h) {
			t.Errorf("head %d: %+v, want %+v: %v", i, heads[i], h, err)
		}
	}
}

// The bound holds for the largest pages, and the builder says when to close.
func TestMapPackIsBounded(t *testing.T) {
	for _, packs := range []int{1, 64} {
		b, err := NewMapBuilder(testRing(t).Map, MapBuilderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := uint32(0); b.Fits(); i++ {
			if _, err := b.Add(fullPage(i, packs)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Add(fullPage(0, 1)); err == nil {
			t.Error("a full map pack takes a page")
		}
		id, data, err := b.Close(1)
		if err != nil || len(data) > MapPackBytes || len(data) < MapPackBytes-3*pageMax {
			t.Errorf("%d packs a page: %d bytes: %v", packs, len(data), err)
		}
		if _, _, err := readMap(testRing(t).Map, id, data); err != nil {
			t.Error(err)
		}
	}
	b, err := NewMapBuilder(testRing(t).Map, MapBuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for b.Fits() {
		if _, err := b.Add(Page{Places: make([]PagePlace, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, data, err := b.Close(1); err != nil || b.Slots() > MapSlotsMax || len(data) > MapPackBytes {
		t.Errorf("%d slots, %d bytes: %v", b.Slots(), len(data), err)
	}
}

func TestFlippedBytesOfAMapPackAreFound(t *testing.T) {
	id, data := buildMap(t, fullPage(1, 2), fullPage(2, 3))
	for i := 0; i < len(data); i += 3 {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		if _, _, err := readMap(testRing(t).Map, id, bad); err == nil {
			t.Fatalf("byte %d of %d flipped: it reads", i, len(data))
		}
	}
	if _, _, err := readMap([32]byte{1}, id, data); !errors.Is(err, ErrDamaged) {
		t.Errorf("another map key: %v", err)
	}
	if _, _, err := readMap(testRing(t).Map, NewPackID(4), data); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another name: %v", err)
	}
	for n := range len(data) {
		if _, _, err := readMap(testRing(t).Map, id, data[:n]); err == nil {
			t.Fatalf("cut to %d bytes: it reads", n)
		}
	}
}

// A page is bound to its slot: two that change places are found, though both are whole.
func TestPagesAreBoundToTheirSlots(t *testing.T) {
	id, data := buildMap(t, fullPage(1, 2), fullPage(2, 2))
	tail, _, err := ReadMapTail(testRing(t).Map, data, int64(len(data)), id)
	if err != nil {
		t.Fatal(err)
	}
	off, n, err := tail.Slot(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tail.Open(0, data[off:off+n]); !errors.Is(err, ErrDamaged) {
		t.Errorf("the page of slot 1 opens as slot 0: %v", err)
	}
	if _, _, err := tail.Slot(2); err == nil {
		t.Error("there is a slot 2 of 2")
	}
}

func TestMapBuilderSurvivesAFalsePageOnly(t *testing.T) {
	b, err := NewMapBuilder(testRing(t).Map, MapBuilderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(Page{}); err == nil {
		t.Error("a page without places is filed")
	}
	if _, _, err := b.Close(1); err == nil {
		t.Error("a map pack without pages is closed")
	}
	if _, err := b.Add(fullPage(1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
	if _, err := NewMapBuilder([32]byte{}, MapBuilderOptions{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a map key: %v", err)
	}
}

func FuzzReadMapTail(f *testing.F) {
	id, data := buildMap(f, fullPage(1, 2))
	f.Add(data, int64(len(data)))
	f.Add(data[len(data)-mapFooter:], int64(len(data)))
	f.Fuzz(func(t *testing.T, end []byte, size int64) {
		tail, more, err := ReadMapTail(testRing(t).Map, end, size, id)
		if err == nil && more == 0 && tail.Slots() != 1 || more < 0 || more > MapPackBytes {
			t.Fatalf("%+v, more %d", tail, more)
		}
	})
}
