package auditor

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// place is an answer for one place of an open page.
type place struct {
	n     uint8
	fresh bool
	vault.PagePlace
}

// took is what the stages say they took, in microseconds: the most of any answer.
type took struct{ lookup, seal, put uint32 }

func (t *took) most(u took) {
	t.lookup, t.seal, t.put = max(t.lookup, u.lookup), max(t.seal, u.seal), max(t.put, u.put)
}

// page is a page under way. It is filled in any order: by place from known and
// landed, by its masks from extents.cut, and from the base's page.
type page struct {
	ext *extent
	no  uint32

	got    uint64
	places []place // as they came; no more memory than there are answers

	cut        bool // the masks are known
	data, zero uint64
	inherit    uint64
	claimed    uint64 // of data and zero: to be compared with the base's page
	digest     [16]byte
	sound      bool        // the digest is that of the answers
	wanted     bool        // the base's page is being read
	base       *vault.Page // once read
	filing     bool        // full, on its way to a map pack
	took       took
	redundancy uint32 // of the weakest answer; 0: none said
	totals     *schemas.Totals
}

// fill takes an answer. The first for a place wins; an id that differs from it is
// a fault, whoever is wrong.
func (p *page) fill(a place) *fault {
	bit := uint64(1) << a.n
	if p.cut && p.data&bit == 0 {
		return faultf(codeShape, "file %d, page %d: an answer for place %d, which was not cut", p.ext.id.file, p.no, a.n)
	}
	if p.got&bit != 0 {
		for _, b := range p.places {
			if b.n == a.n && b.ID != a.ID {
				return faultf(codeID, "file %d, page %d, place %d: chunk %s, and before %s", p.ext.id.file, p.no, a.n, a.ID, b.ID)
			}
		}
		return nil
	}
	p.got |= bit
	p.places = append(p.places, a)
	return nil
}

// expect takes the masks of extents.cut.
func (p *page) expect(c *schemas.CutPage, s shape) *fault {
	if p.cut {
		if p.data != c.Data || p.zero != c.Zero || p.claimed != c.Claimed || !bytes.Equal(p.digest[:], c.Digest) {
			return faultf(codeShape, "file %d, page %d: cut twice, and not alike", p.ext.id.file, p.no)
		}
		return nil
	}
	p.cut, p.data, p.zero, p.claimed = true, c.Data, c.Zero, c.Claimed
	copy(p.digest[:], c.Digest)
	if s.grid != 0 {
		p.inherit = mask(s.places(p.no)) &^ (c.Data | c.Zero)
	}
	if p.got&^p.data != 0 {
		return faultf(codeShape, "file %d, page %d: answers for places %x, of which only %x were cut", p.ext.id.file, p.no, p.got, p.data)
	}
	return nil
}

// check reports whether every place that was cut has its answer, and that they are
// the chunks that were cut.
func (p *page) check() (full bool, f *fault) {
	if !p.cut || p.got != p.data {
		return false, nil
	}
	if p.sound || p.data == 0 {
		return true, nil
	}
	slices.SortFunc(p.places, func(a, b place) int { return cmp.Compare(a.n, b.n) })
	places, ids := make([]uint64, len(p.places)), make([]byte, 0, 32*len(p.places))
	for i, a := range p.places {
		places[i] = uint64(p.no)*cut.PagePlaces + uint64(a.n)
		ids = append(ids, a.ID[:]...)
	}
	if got := cut.PageDigest(places, ids); got != p.digest {
		return false, faultf(codeDigest, "file %d, page %d: digest %x, the chunker cut %x", p.ext.id.file, p.no, got, p.digest)
	}
	p.sound = true
	return true, nil
}

// waits reports whether the base's page is still to be read.
func (p *page) waits() bool { return p.inherit|p.claimed != 0 && p.base == nil }

// build is the page as it will lie in the vault, and its sums. blank: it is all
// zero and lies nowhere.
func (p *page) build(s shape) (out vault.Page, blank bool, f *fault) {
	n := bits.Len64(p.data)
	if s.grid != 0 {
		n = s.places(p.no)
	}
	t := &schemas.Totals{Places: uint64(len(p.places))}
	out = vault.Page{No: p.no, Start: s.start(p.no), Places: make([]vault.PagePlace, n)}
	at := out.Start
	for _, a := range p.places {
		length := uint64(a.Plain)
		if s.grid != 0 {
			length = s.length(uint64(p.no)*cut.PagePlaces + uint64(a.n))
			a.Plain = 0
		}
		at += length
		t.ReadBytes += length
		if a.fresh {
			t.FreshBytes += length
			t.StoredBytes += uint64(a.Framed)
		} else {
			t.KnownBytes += length
		}
		out.Places[a.n] = a.PagePlace
	}
	if s.grid == 0 && (at > out.Start+streamExtent || s.size != 0 && at != min(s.size, out.Start+streamExtent)) {
		return out, false, faultf(codeShape, "file %d, page %d of a stream of %d bytes: its chunks end at %d", p.ext.id.file, p.no, s.size, at)
	}
	for z := p.zero; z != 0; z &= z - 1 {
		i := bits.TrailingZeros64(z)
		out.Places[i].Kind = vault.PlaceZero
		t.ZeroBytes += s.length(uint64(p.no)*cut.PagePlaces + uint64(i))
	}
	blank = p.data == 0
	for h := p.inherit; h != 0; h &= h - 1 {
		i := bits.TrailingZeros64(h)
		if i >= len(p.base.Places) || p.base.Places[i].Kind == vault.PlaceAbsent {
			return out, false, faultf(codeBase, "file %d, page %d: place %d is not in the base's page", p.ext.id.file, p.no, i)
		}
		out.Places[i] = p.base.Places[i]
		blank = blank && out.Places[i].Kind == vault.PlaceZero
		t.InheritedBytes += s.length(uint64(p.no)*cut.PagePlaces + uint64(i))
	}
	if f := p.compare(&out, t); f != nil {
		return out, false, f
	}
	p.totals = t
	return out, blank, nil
}

// compare counts the places that change tracking claims to be as in the base, and
// that are not. The page itself is right: they were read.
func (p *page) compare(out *vault.Page, t *schemas.Totals) *fault {
	for c := p.claimed; c != 0; c &= c - 1 {
		i := bits.TrailingZeros64(c)
		if i >= len(p.base.Places) || p.base.Places[i].Kind == vault.PlaceAbsent {
			return faultf(codeBase, "file %d, page %d: place %d is not in the base's page", p.ext.id.file, p.no, i)
		}
		t.ClaimedPlaces++
		if is, was := out.Places[i], p.base.Places[i]; is.Kind != was.Kind || is.Kind == vault.PlaceChunk && is.ID != was.ID {
			t.LiedPlaces++
		}
	}
	return nil
}
