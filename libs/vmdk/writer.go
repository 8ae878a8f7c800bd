package vmdk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zlib"

	"github.com/holdfast-backup/holdfast/libs/cut"
)

// Options of a stream that is written.
type Options struct {
	// Size of the disk in bytes; what is no multiple of 512 is rounded up, with
	// zeros, and none to 512, because no tool opens a disk without a sector.
	Size int64
	// Adapter is the controller that the descriptor names: lsilogic (default),
	// buslogic, pvscsi or ide. An import goes by the machine's settings instead.
	Adapter string
}

// Writer encodes one stream. It is for one goroutine, and an error stays.
type Writer struct {
	out   *bufio.Writer
	at    uint64 // sectors written
	head  header
	size  int64
	z     *zlib.Writer
	grain bytes.Buffer
	pad   []byte // a grain that the disk ends in

	next      int64    // the first byte of the disk that the next grain may have
	table     []uint32 // of the grains written since the last table
	directory []uint32
	ended     error
}

// level of deflate: 530 MB/s or more a core. The next ones cost half the speed for
// some 3 % of the bytes.
const level = zlib.BestSpeed

// NewWriter writes header and descriptor. It never closes out.
func NewWriter(out io.Writer, o Options) (*Writer, error) {
	if o.Size < 0 || o.Size > SizeMax {
		return nil, fmt.Errorf("vmdk: disk of %d bytes, want 0 to %d", o.Size, int64(SizeMax))
	}
	capacity := max(1, divUp(uint64(o.Size), sector))
	descriptor, err := describe(capacity, o.Adapter)
	if err != nil {
		return nil, fmt.Errorf("vmdk: %w", err)
	}
	w := &Writer{out: bufio.NewWriterSize(out, readAhead), size: o.Size, head: header{
		version: version, flags: flagNewlines | flagCompressed | flagMarkers,
		capacity: capacity, grain: GrainSize / sector,
		descAt: 1, descSectors: descriptorSectors,
		tableSize: tableSize, directory: atEnd, firstData: dataSector, compression: deflate,
	}}
	w.table, w.directory = make([]uint32, tableSize), make([]uint32, w.head.tables())
	if w.z, err = zlib.NewWriterLevel(&w.grain, level); err != nil {
		return nil, fmt.Errorf("vmdk: deflate level %d: %w", level, err)
	}
	front := w.head.append(make([]byte, 0, dataSector*sector))
	front = append(front, descriptor...)
	if err := w.write(front[:dataSector*sector]); err != nil {
		return nil, err
	}
	return w, nil
}

// WriteGrain writes the grain at byte off of the disk. Grains come in ascending
// order; one of zeros, like one that never comes, takes no room. p is GrainSize
// bytes, or ends where the disk does. It is not kept.
func (w *Writer) WriteGrain(off int64, p []byte) error {
	if w.ended == nil {
		w.ended = w.put(off, p)
	}
	return w.ended
}

func (w *Writer) put(off int64, p []byte) error {
	switch {
	case off < 0 || off%GrainSize != 0:
		return fmt.Errorf("vmdk: grain at byte %d, which is no multiple of %d", off, GrainSize)
	case off < w.next:
		return fmt.Errorf("vmdk: grain at byte %d, but the one before it ends at %d", off, w.next)
	case off >= w.size || int64(len(p)) != min(GrainSize, w.size-off):
		return fmt.Errorf("vmdk: grain of %d bytes at byte %d of a disk of %d", len(p), off, w.size)
	}
	table := uint64(off) / GrainSize / tableSize
	if w.next > 0 && table != uint64(w.next-1)/GrainSize/tableSize {
		if err := w.endTable(); err != nil {
			return err
		}
	}
	w.next = off + GrainSize
	if cut.Zero(p) {
		return nil
	}
	at, err := w.here()
	if err != nil {
		return err
	}
	w.table[uint64(off)/GrainSize%tableSize] = at
	if len(p) < GrainSize { // a grain is whole, also where the disk is not
		w.pad = append(append(w.pad[:0], p...), make([]byte, GrainSize-len(p))...)
		p = w.pad
	}
	return w.deflate(uint64(off)/sector, p)
}

func (w *Writer) deflate(at uint64, p []byte) error {
	w.grain.Reset()
	w.grain.Write(make([]byte, grainHead))
	w.z.Reset(&w.grain)
	if _, err := w.z.Write(p); err != nil {
		return fmt.Errorf("vmdk: deflate the grain at sector %d: %w", at, err)
	}
	if err := w.z.Close(); err != nil {
		return fmt.Errorf("vmdk: deflate the grain at sector %d: %w", at, err)
	}
	b := w.grain.Bytes()
	binary.LittleEndian.PutUint64(b, at)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-grainHead))
	return w.write(b)
}

var errFull = errors.New("vmdk: the stream has 2 TiB, and the format finds no grain behind that")

// here is the sector of the stream that is written next, as tables tell it.
func (w *Writer) here() (uint32, error) {
	if w.at >= math.MaxUint32 {
		return 0, errFull
	}
	return uint32(w.at), nil
}

// write appends b and fills its last sector.
func (w *Writer) write(b []byte) error {
	n := divUp(uint64(len(b)), sector)
	if _, err := w.out.Write(b); err != nil {
		return fmt.Errorf("vmdk: write sector %d: %w", w.at, err)
	}
	if _, err := w.out.Write(noBytes[:n*sector-uint64(len(b))]); err != nil {
		return fmt.Errorf("vmdk: write sector %d: %w", w.at, err)
	}
	w.at += n
	return nil
}

var noBytes [sector]byte
