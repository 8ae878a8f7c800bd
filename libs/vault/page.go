package vault

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// PlaceKind says what a place of a filed page is. Places that a backup inherits are
// resolved before a page is filed, so a page never needs another page to be read.
type PlaceKind uint8

const (
	PlaceAbsent PlaceKind = iota // beyond the end of the file
	PlaceZero
	PlaceChunk
)

// PagePlace is one place: for a chunk its name, for verifying, and where it lies, for reading.
type PagePlace struct {
	Kind           PlaceKind
	ID             cut.ID
	Pack           PackID
	Offset, Framed uint32
	Plain          uint32 // of a stream's chunk; 0 on a grid, where place and file size tell
}

// Page is up to 64 neighbouring places of a file.
type Page struct {
	No     uint32 // on a grid: first place / 64; of a stream: the extent
	Start  uint64 // byte of the file at which the first place begins
	Places []PagePlace
}

// PackUse is a pack that a page names, and how many bytes of frames it names there,
// each frame once.
type PackUse struct {
	Pack  PackID
	Bytes uint32
}

// PageHead is what marking needs of a page.
type PageHead struct {
	No         uint32
	Start      uint64
	Places     int
	Data, Zero uint64 // bit i: place i
	Packs      []PackUse
	lengths    bool
}

const (
	headBytes  = 4 + 8 + 1 + 1 + 1 + 1 + 8 + 8
	useBytes   = 8 + 16 + 4
	placeBytes = 32 + 2 + 4 + 4
	// pageMax is a stream's page of 64 chunks in 64 packs: 4,768 bytes.
	pageMax = headBytes + cut.PagePlaces*(useBytes+placeBytes+4)

	flagLengths = 1
)

// head says of a page what marking needs, and which pack number each place has.
func (p *Page) head() (h PageHead, no [cut.PagePlaces]uint16, err error) {
	h = PageHead{No: p.No, Start: p.Start, Places: len(p.Places)}
	if h.Places == 0 || h.Places > cut.PagePlaces {
		return h, no, fmt.Errorf("page %d: %d places, want 1 to %d", p.No, h.Places, cut.PagePlaces)
	}
	type frame struct {
		pack   uint16
		offset uint32
	}
	packs, frames := map[PackID]uint16{}, map[frame]bool{}
	plain := 0
	for i, e := range p.Places {
		switch e.Kind {
		case PlaceAbsent:
			continue
		case PlaceZero:
			h.Zero |= 1 << i
			continue
		}
		h.Data |= 1 << i
		if e.Kind != PlaceChunk || e.Framed < seal.Overhead || e.Framed > seal.FramedMax || e.Plain > seal.PlainMax {
			return h, no, fmt.Errorf("page %d, place %d: kind %d, frame of %d bytes, %d plain", p.No, i, e.Kind, e.Framed, e.Plain)
		}
		if e.Plain != 0 {
			plain++
		}
		n, ok := packs[e.Pack]
		if !ok {
			n = uint16(len(h.Packs))
			packs[e.Pack] = n
			h.Packs = append(h.Packs, PackUse{Pack: e.Pack})
		}
		no[i] = n
		if f := (frame{n, e.Offset}); !frames[f] {
			frames[f] = true
			h.Packs[n].Bytes += e.Framed
		}
	}
	if h.lengths = plain > 0; h.lengths && plain != bits.OnesCount64(h.Data) {
		return h, no, fmt.Errorf("page %d: %d of %d chunks say their length: want all or none", p.No, plain, bits.OnesCount64(h.Data))
	}
	return h, no, nil
}

func (h *PageHead) append(dst []byte) []byte {
	var flags byte
	if h.lengths {
		flags = flagLengths
	}
	dst = binary.BigEndian.AppendUint32(dst, h.No)
	dst = binary.BigEndian.AppendUint64(dst, h.Start)
	dst = append(dst, byte(h.Places), flags, byte(len(h.Packs)), 0)
	dst = binary.BigEndian.AppendUint64(dst, h.Data)
	dst = binary.BigEndian.AppendUint64(dst, h.Zero)
	for _, u := range h.Packs {
		key := u.Pack.Key()
		dst = append(dst, key[:]...)
		dst = binary.BigEndian.AppendUint32(dst, u.Bytes)
	}
	return dst
}

// parseHead reads a head and returns what follows it.
func parseHead(b []byte) (h PageHead, rest []byte, err error) {
	if len(b) < headBytes {
		return h, nil, fmt.Errorf("%w: page head of %d bytes", ErrDamaged, len(b))
	}
	h = PageHead{No: binary.BigEndian.Uint32(b), Start: binary.BigEndian.Uint64(b[4:]), Places: int(b[12]), lengths: b[13] == flagLengths,
		Data: binary.BigEndian.Uint64(b[16:]), Zero: binary.BigEndian.Uint64(b[24:])}
	packs := int(b[14])
	if h.Places == 0 || h.Places > cut.PagePlaces || b[13] > flagLengths || b[15] != 0 ||
		h.Data&h.Zero != 0 || bits.Len64(h.Data|h.Zero) > h.Places || packs > bits.OnesCount64(h.Data) {
		return h, nil, fmt.Errorf("%w: page head %x", ErrDamaged, b[:headBytes])
	}
	if b = b[headBytes:]; len(b) < packs*useBytes {
		return h, nil, fmt.Errorf("%w: page %d: head of %d packs is cut short", ErrDamaged, h.No, packs)
	}
	if packs > 0 {
		h.Packs = make([]PackUse, packs)
	}
	for i := range h.Packs {
		id, err := PackIDFromKey(b[:24])
		if err != nil {
			return h, nil, err
		}
		h.Packs[i] = PackUse{id, binary.BigEndian.Uint32(b[24:])}
		b = b[useBytes:]
	}
	return h, b, nil
}

func (h *PageHead) appendPage(dst []byte, p *Page, no [cut.PagePlaces]uint16) []byte {
	dst = h.append(dst)
	for i, e := range p.Places {
		if e.Kind == PlaceChunk {
			dst = append(dst, e.ID[:]...)
			dst = binary.BigEndian.AppendUint16(dst, no[i])
			dst = binary.BigEndian.AppendUint32(dst, e.Offset)
			dst = binary.BigEndian.AppendUint32(dst, e.Framed)
		}
	}
	for _, e := range p.Places {
		if h.lengths && e.Kind == PlaceChunk {
			dst = binary.BigEndian.AppendUint32(dst, e.Plain)
		}
	}
	return dst
}

// parsePage is the inverse of Page.append.
func parsePage(b []byte) (Page, error) {
	h, b, err := parseHead(b)
	if err != nil {
		return Page{}, err
	}
	chunks, size := bits.OnesCount64(h.Data), placeBytes
	if h.lengths {
		size += 4
	}
	if len(b) != chunks*size {
		return Page{}, fmt.Errorf("%w: page %d: %d bytes for %d chunks", ErrDamaged, h.No, len(b), chunks)
	}
	lengths := b[chunks*placeBytes:]
	p := Page{h.No, h.Start, make([]PagePlace, h.Places)}
	for i := range p.Places {
		switch bit := uint64(1) << i; {
		case h.Zero&bit != 0:
			p.Places[i].Kind = PlaceZero
		case h.Data&bit != 0:
			n := int(binary.BigEndian.Uint16(b[32:]))
			if n >= len(h.Packs) {
				return Page{}, fmt.Errorf("%w: page %d, place %d: pack %d of %d", ErrDamaged, h.No, i, n, len(h.Packs))
			}
			e := PagePlace{Kind: PlaceChunk, ID: cut.ID(b), Pack: h.Packs[n].Pack,
				Offset: binary.BigEndian.Uint32(b[34:]), Framed: binary.BigEndian.Uint32(b[38:])}
			if h.lengths {
				e.Plain, lengths = binary.BigEndian.Uint32(lengths), lengths[4:]
			}
			if e.Framed < seal.Overhead || e.Framed > seal.FramedMax || e.Plain > seal.PlainMax || h.lengths != (e.Plain != 0) {
				return Page{}, fmt.Errorf("%w: page %d, place %d: frame of %d bytes, %d plain", ErrDamaged, h.No, i, e.Framed, e.Plain)
			}
			p.Places[i], b = e, b[placeBytes:]
		}
	}
	return p, nil
}
