package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"
)

// stream puts one together piece by piece, so that each piece can lie.
type stream struct{ bytes.Buffer }

func lying(capacity uint64, change ...func(*header)) *stream {
	h := header{version: 3, flags: flagNewlines | flagCompressed | flagMarkers, capacity: capacity, grain: 128,
		tableSize: 512, directory: atEnd, firstData: 1, compression: deflate}
	for _, f := range change {
		f(&h)
	}
	s := &stream{}
	s.Write(h.append(nil))
	return s
}

func (s *stream) grain(at uint64, plain []byte) *stream {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(plain)
	w.Close()
	return s.packed(at, uint32(z.Len()), z.Bytes())
}

func (s *stream) packed(at uint64, size uint32, b []byte) *stream {
	binary.Write(s, binary.LittleEndian, at)
	binary.Write(s, binary.LittleEndian, size)
	s.Write(b)
	s.Write(make([]byte, (sector-s.Len()%sector)%sector))
	return s
}

func (s *stream) mark(kind uint32, value uint64) *stream {
	s.Write(mark(nil, kind, value))
	return s
}

// foot is a sound end.
func (s *stream) foot(capacity uint64) *stream {
	s.mark(markFooter, 1).Write(header{version: 3, flags: flagCompressed | flagMarkers, capacity: capacity, grain: 128,
		tableSize: 512, firstData: 1, compression: deflate}.append(nil))
	return s.mark(markEnd, 0)
}

func TestEachLieIsTold(t *testing.T) {
	full := noise(1, GrainSize)
	bomb := make([]byte, 100<<20)
	for _, c := range []struct {
		name string
		in   *stream
		want string // "" is a sound stream
	}{
		{"sound", lying(1024).grain(0, full).grain(256, full).foot(1024), ""},
		{"empty", lying(0).foot(0), ""},
		{"a last grain that is cut", lying(128+5).grain(128, full[:5*sector]).foot(128 + 5), ""},
		{"a last grain that is whole", lying(128+5).grain(128, full).foot(128 + 5), ""},
		{"another magic", &stream{*bytes.NewBuffer(append([]byte("COWD"), full...))}, "begins with"},
		{"version", lying(128, func(h *header) { h.version = 4 }).foot(128), "version 4"},
		{"not compressed", lying(128, func(h *header) { h.flags = flagMarkers }).foot(128), "not streamOptimized"},
		{"compression", lying(128, func(h *header) { h.compression = 0 }).foot(128), "compression 0"},
		{"text", &stream{*bytes.NewBuffer(bytes.Replace(lying(128).Bytes(), []byte("\n \r\n"), []byte("\n \n\n"), 1))}, "transferred as text"},
		{"capacity", lying(1 << 60).foot(1 << 60), "disk of"},
		{"grain of one sector", lying(128, func(h *header) { h.grain = 1 }).foot(128), "power of two"},
		{"grain of a GiB", lying(128, func(h *header) { h.grain = 2 << 20 }).foot(128), "power of two"},
		{"grain of 100", lying(128, func(h *header) { h.grain = 100 }).foot(128), "power of two"},
		{"tables", lying(128, func(h *header) { h.tableSize = 1 << 31 }).foot(128), "tables of"},
		{"data far behind", lying(128, func(h *header) { h.firstData = 1 << 40 }).foot(128), "first grain in sector"},
		{"data in the header", lying(128, func(h *header) { h.firstData = 0 }).foot(128), "first grain in sector"},
		{"descriptor too long", lying(128, func(h *header) { h.descAt, h.descSectors = 1, 1<<40 }).foot(128), "descriptor of"},
		{"descriptor too far", lying(128, func(h *header) { h.descAt, h.descSectors = ^uint64(0), 2 }).foot(128), "descriptor in"},
		{"a child", child(), "parentCID=12345678"},
		{"out of range", lying(128).grain(128, full).foot(128), "of a disk of 128"},
		{"out of any range", lying(128).grain(1<<63, full).foot(128), "of a disk of 128"},
		{"out of order", lying(1024).grain(256, full).grain(128, full).foot(1024), "the one before it ends at 384"},
		{"twice", lying(1024).grain(0, full).grain(0, full).foot(1024), "the one before it ends at 128"},
		{"overlapping", lying(1024).grain(0, full).grain(64, full).foot(1024), "no multiple of 128"},
		{"oversized", lying(1024).packed(0, 1<<31, full).foot(1024), "the most is 131072"},
		{"a bomb", lying(1024).grain(0, bomb).foot(1024), "more than a grain"},
		{"one byte more", lying(1024).grain(0, append(full, 1)).foot(1024), "more than a grain"},
		{"one byte less", lying(1024).grain(0, full[1:]).foot(1024), "65535 bytes, want 65536"},
		{"short at the end", lying(128+5).grain(128, full[:5*sector-1]).foot(128 + 5), "2559 bytes, want 2560"},
		{"no deflate", lying(1024).packed(0, 500, full[:500]).foot(1024), "inflate: "},
		{"deflate that ends early", lying(1024).packed(0, 8, deflated(full)[:8]).foot(1024), "inflate: unexpected EOF"},
		{"a checksum", lying(1024).packed(0, uint32(len(deflated(full))), flip(deflated(full))).foot(1024), "checksum"},
		{"a marker", lying(1024).mark(9, 0).foot(1024), "marker 9"},
		{"a table without end", lying(1024).mark(markTable, 1<<60).foot(1024), "table of"},
		{"a long footer", lying(1024).mark(markFooter, 2).foot(1024), "footer of 2"},
		{"a footer of another disk", lying(1024).foot(2048), "footer: of a disk of 2048"},
		{"zeros for an end", lying(1024).grain(0, full).mark(markEnd, 0), "no footer"},
		{"something behind the end", lying(1024).mark(markEnd, 7), "7 sectors behind"},
	} {
		_, _, err := decode(&c.in.Buffer)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrCorrupt) || errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func deflated(b []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// flip changes the checksum at the end.
func flip(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func child() *stream {
	s := lying(128, func(h *header) { h.descAt, h.descSectors, h.firstData = 1, 1, 2 })
	b := make([]byte, sector)
	copy(b, "# Disk DescriptorFile\nCID=fffffffe\nparentCID=12345678\n")
	s.Write(b)
	return s.foot(128)
}

// An error says at which byte of the stream.
func TestALieHasItsPlace(t *testing.T) {
	in := lying(1024).grain(0, make([]byte, GrainSize)) // one sector each
	_, _, err := decode(&in.mark(9, 0).Buffer)
	if err == nil || !strings.Contains(err.Error(), "byte 1024 of the stream") {
		t.Error(err)
	}
}
