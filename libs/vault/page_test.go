package vault

import (
	"errors"
	"math/bits"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// drawPage draws any page that can be filed.
func drawPage(t *rapid.T) Page {
	packs := make([]PackID, rapid.IntRange(1, 70).Draw(t, "packs"))
	for i := range packs {
		packs[i] = PackID{uint64(i), [16]byte{byte(i)}}
	}
	p := Page{No: rapid.Uint32().Draw(t, "no"), Start: rapid.Uint64().Draw(t, "start"), Places: make([]PagePlace, rapid.IntRange(1, cut.PagePlaces).Draw(t, "places"))}
	stream := rapid.Bool().Draw(t, "stream")
	for i := range p.Places {
		e := PagePlace{Kind: PlaceKind(rapid.IntRange(0, 2).Draw(t, "kind"))}
		if e.Kind == PlaceChunk {
			e.ID = cut.ID(noise(rapid.Byte().Draw(t, "id"), 32))
			e.Pack = rapid.SampledFrom(packs).Draw(t, "pack")
			e.Offset, e.Framed = rapid.Uint32().Draw(t, "offset"), rapid.Uint32Range(27, 1<<24).Draw(t, "framed")
			if stream {
				e.Plain = rapid.Uint32Range(1, 1<<24).Draw(t, "plain")
			}
		}
		p.Places[i] = e
	}
	return p
}

func TestPagesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPage(t)
		h, no, err := p.head()
		if err != nil {
			t.Fatal(err)
		}
		b := h.appendPage(nil, &p, no)
		if len(b) > pageMax {
			t.Fatalf("a page of %d bytes", len(b))
		}
		back, err := parsePage(b)
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%+v comes back as %+v: %v", p, back, err)
		}
		head, rest, err := parseHead(h.append(nil))
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(head, h) {
			t.Fatalf("head %+v comes back as %+v: %v", h, head, err)
		}
		if bits.OnesCount64(h.Data) > 0 && len(h.Packs) == 0 {
			t.Fatal("chunks without packs")
		}
	})
}

// A frame that a page names twice counts once in what the page keeps alive.
func TestHeadCountsEachFrameOnce(t *testing.T) {
	a, b := PackID{1, [16]byte{1}}, PackID{2, [16]byte{2}}
	place := func(p PackID, off uint32) PagePlace {
		return PagePlace{Kind: PlaceChunk, Pack: p, Offset: off, Framed: 100}
	}
	p := Page{Places: []PagePlace{place(a, 0), place(b, 0), place(a, 0), place(a, 100), {Kind: PlaceZero}}}
	h, _, err := p.head()
	if err != nil {
		t.Fatal(err)
	}
	if want := []PackUse{{a, 200}, {b, 100}}; !reflect.DeepEqual(h.Packs, want) {
		t.Errorf("uses %v, want %v", h.Packs, want)
	}
	if h.Data != 0b1111 || h.Zero != 0b10000 {
		t.Errorf("data %b, zero %b", h.Data, h.Zero)
	}
}

func TestFalsePagesAreNotFiled(t *testing.T) {
	chunk := PagePlace{Kind: PlaceChunk, Framed: 100}
	long := chunk
	long.Plain = 5
	short := chunk
	short.Framed = 3
	for name, places := range map[string][]PagePlace{
		"no place":     nil,
		"65 places":    make([]PagePlace, 65),
		"kind 3":       {{Kind: 3, Framed: 100}},
		"short frame":  {short},
		"some lengths": {chunk, long},
	} {
		p := Page{Places: places}
		if _, _, err := p.head(); err == nil {
			t.Errorf("%s: it is filed", name)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	p := Page{No: 3, Start: 3 << 22, Places: []PagePlace{{Kind: PlaceZero}, {Kind: PlaceChunk, Framed: 30, Pack: PackID{1, [16]byte{9}}}, {}, {Kind: PlaceChunk, Framed: 99}}}
	h, no, err := p.head()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(h.appendPage(nil, &p, no))
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		// What parses says the same when it is written again, though the writer of b may
		// have listed its packs in another order.
		h, no, err := p.head()
		if err != nil {
			t.Fatalf("%+v parses and can't be filed: %v", p, err)
		}
		again, err := parsePage(h.appendPage(nil, &p, no))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v comes back as %+v: %v", p, again, err)
		}
	})
}
