package vmdk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Reader decodes one stream. It is for one goroutine.
type Reader struct {
	in    *bufio.Reader
	at    int64 // of the stream: where in stands
	head  header
	z     inflater
	next  int64 // the first byte of the disk that the next grain may have
	seen  int64 // grains
	told  int64 // grains that the tables before them tell of; -1: there are none
	foot  bool
	ended error
}

// readAhead is the least that is asked of the stream at once.
const readAhead = 256 << 10

// NewReader reads header and descriptor. ErrCorrupt: the stream is no
// streamOptimized VMDK, or one of a child disk, whose missing grains are its
// parent's and not zero.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{told: -1}
	var b [sector]byte
	if n, err := io.ReadFull(in, b[:]); err != nil {
		return nil, fmt.Errorf("vmdk: header, %d bytes of %d: %w", n, sector, goesOn(err))
	}
	h, err := parse(b[:])
	if err != nil {
		return nil, fmt.Errorf("vmdk: %w: header: %w", ErrCorrupt, err)
	}
	r.head, r.at = h, sector
	grain := int(h.grain) * sector
	r.in = bufio.NewReaderSize(in, max(readAhead, packedMost(grain)+2*sector))
	r.z.plain = make([]byte, grain+1)
	if err := r.front(); err != nil {
		return nil, err
	}
	return r, nil
}

// packedMost is the longest that the deflated form of a grain may be. Deflate adds
// 5 bytes for each 64 KiB that it can't shrink; twice the grain allows for poor
// writers, and what is longer is a lie.
func packedMost(grain int) int { return 2 * grain }

// Size is the disk's size in bytes, a multiple of 512.
func (r *Reader) Size() int64 { return int64(r.head.capacity) * sector }

// Next returns the next grain and its byte on the disk; they come in ascending
// order, and what none of them covers is zero. p is a grain long, or ends with
// the disk; it is good until the next call. io.EOF: the stream was whole. A
// stream that is cut off gives io.ErrUnexpectedEOF. An error stays.
func (r *Reader) Next() (off int64, p []byte, err error) {
	for r.ended == nil {
		off, p, r.ended = r.step()
		if p != nil {
			return off, p, nil
		}
	}
	return 0, nil, r.ended
}

// step reads one marker and what it stands before; p is nil if that is no grain.
func (r *Reader) step() (off int64, p []byte, err error) {
	b, err := r.peek(sector)
	if err != nil {
		if len(b) == 0 && errors.Is(err, io.ErrUnexpectedEOF) && r.told == r.seen {
			return 0, nil, io.EOF // qemu-img writes no end marker, but its tables are full
		}
		return 0, nil, err
	}
	value, size := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
	if size > 0 {
		return r.grain(value, size)
	}
	switch kind := binary.LittleEndian.Uint32(b[12:]); kind {
	case markEnd:
		return 0, nil, r.end(value)
	case markTable, markDirectory:
		if most := max(tableBytes/sector, r.head.directorySectors()); value > most {
			return 0, nil, r.corrupt("table of %d sectors, the most is %d", value, most)
		}
		return 0, nil, r.skip(1 + value)
	case markFooter:
		return 0, nil, r.footer(value)
	default:
		return 0, nil, r.corrupt("marker %d is unknown", kind)
	}
}

// grain reads the grain at a sector of the disk; its deflated form has size bytes.
func (r *Reader) grain(at uint64, size uint32) (off int64, p []byte, err error) {
	grain := int64(r.head.grain) * sector
	switch {
	case at >= r.head.capacity:
		return 0, nil, r.corrupt("grain at sector %d of a disk of %d", at, r.head.capacity)
	case at%r.head.grain != 0:
		return 0, nil, r.corrupt("grain at sector %d, which is no multiple of %d", at, r.head.grain)
	case int64(at)*sector < r.next:
		return 0, nil, r.corrupt("grain at sector %d, but the one before it ends at %d", at, r.next/sector)
	case int(size) > packedMost(int(grain)):
		return 0, nil, r.corrupt("grain at sector %d: deflated to %d bytes, the most is %d", at, size, packedMost(int(grain)))
	}
	off = int64(at) * sector
	padded := (grainHead + int(size) + sector - 1) / sector * sector
	b, err := r.peek(padded)
	if err != nil {
		return 0, nil, err
	}
	p, err = r.z.inflate(b[grainHead : grainHead+size])
	if want := min(grain, r.Size()-off); err == nil && int64(len(p)) < want {
		err = fmt.Errorf("%d bytes, want %d", len(p), want)
	} else if err == nil {
		p = p[:want]
	}
	if err != nil {
		return 0, nil, r.corrupt("grain at sector %d: %w", at, err)
	}
	r.next, r.seen = off+grain, r.seen+1
	return off, p, r.discard(padded)
}

// grainHead is a marker's sector u64 and size u32, which a grain follows at once.
const grainHead = 12

// footer is the header again. A reader that can seek begins there.
func (r *Reader) footer(sectors uint64) error {
	if sectors != 1 {
		return r.corrupt("footer of %d sectors, want 1", sectors)
	}
	if err := r.skip(1); err != nil {
		return err
	}
	b, err := r.peek(sector)
	if err != nil {
		return err
	}
	h, err := parse(b)
	if err == nil && (h.capacity != r.head.capacity || h.grain != r.head.grain) {
		err = fmt.Errorf("of a disk of %d sectors, the header is of one of %d", h.capacity, r.head.capacity)
	}
	if err != nil {
		return r.corrupt("footer: %w", err)
	}
	r.foot = true
	return r.skip(1)
}

// end is told by a sector of zeros, so also by a file that is longer than what
// was written into it: something else must say that the grains were all.
func (r *Reader) end(value uint64) error {
	switch {
	case value != 0:
		return r.corrupt("end marker with %d sectors behind it", value)
	case r.head.directory == atEnd && !r.foot:
		return r.corrupt("end marker, but no footer was before it")
	case r.told >= 0 && r.told != r.seen:
		return r.corrupt("end marker after %d grains, the tables tell of %d", r.seen, r.told)
	}
	return io.EOF
}
