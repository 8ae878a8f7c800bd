// Package vmdk reads and writes streamOptimized VMDK, the format in which VMware
// exports and imports disks: a header, a descriptor, then grains of 64 KiB, each
// deflated behind a marker that says where on the disk it belongs, then tables
// that find them, a footer and an end marker. Grains of zeros are left out.
//
// Both ways are sequential and take memory for two grains, whatever the disk's
// size: a server sends such a stream once, and none can be asked to go back.
//
// The reader goes by the markers. The tables behind the grains say the same again
// and are skipped; those before them, which qemu-img writes, are counted, because
// a stream of that kind may end without an end marker.
package vmdk

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// GrainSize is the grain that the writer writes, and VMware and qemu too.
	GrainSize = 64 << 10
	// SizeMax bounds a disk: VMware's largest has 62 TiB. Its directory is 8 MiB.
	SizeMax = 64 << 40

	sector     = 512
	grainMin   = 4 << 10 // the format's own bound
	grainMax   = 1 << 20 // the reader keeps two such
	tableSize  = 512     // grains that one table finds, by the format
	tableBytes = tableSize * 4

	descriptorSectors = 20  // room that the writer leaves for the descriptor
	descriptorMost    = 128 // sectors of one that is read
	dataSector        = 128 // the first grain of the writer: the same place as VMware's
	slackSectors      = 2048
)

const (
	magic    = "KDMV"
	version  = 3
	atEnd    = ^uint64(0) // the directory's place is told by the footer
	newlines = "\n \r\n"  // tells of a transfer as text
	deflate  = 1

	flagNewlines   = 1 << 0
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
)

// Markers other than grains.
const (
	markEnd       = 0
	markTable     = 1
	markDirectory = 2
	markFooter    = 3
)

// ErrCorrupt means that a stream is not what the format allows. It is wrapped
// with the stream's byte and the detail. A stream that is only cut off gives
// io.ErrUnexpectedEOF instead.
var ErrCorrupt = errors.New("corrupt vmdk")

// header is the first sector of a stream, and its footer. Places are in sectors.
type header struct {
	version, flags       uint32
	capacity, grain      uint64
	descAt, descSectors  uint64
	tableSize            uint32
	directory, firstData uint64
	compression          uint16
}

func (h header) append(dst []byte) []byte {
	at, le := len(dst), binary.LittleEndian
	dst = append(dst, magic...)
	dst = le.AppendUint32(dst, h.version)
	dst = le.AppendUint32(dst, h.flags)
	for _, v := range []uint64{h.capacity, h.grain, h.descAt, h.descSectors} {
		dst = le.AppendUint64(dst, v)
	}
	dst = le.AppendUint32(dst, h.tableSize)
	for _, v := range []uint64{0, h.directory, h.firstData} { // no second directory
		dst = le.AppendUint64(dst, v)
	}
	dst = append(dst, 0) // shut down cleanly
	dst = append(dst, newlines...)
	dst = le.AppendUint16(dst, h.compression)
	return append(dst, make([]byte, at+sector-len(dst))...)
}

// parse reads the header in b, which is one sector, and says what is wrong with it.
func parse(b []byte) (h header, err error) {
	if string(b[:4]) != magic {
		return h, fmt.Errorf("begins with %q, want %q", b[:4], magic)
	}
	le := binary.LittleEndian
	h = header{
		version: le.Uint32(b[4:]), flags: le.Uint32(b[8:]),
		capacity: le.Uint64(b[12:]), grain: le.Uint64(b[20:]),
		descAt: le.Uint64(b[28:]), descSectors: le.Uint64(b[36:]),
		tableSize: le.Uint32(b[44:]),
		directory: le.Uint64(b[56:]), firstData: le.Uint64(b[64:]),
		compression: le.Uint16(b[77:]),
	}
	switch {
	case h.version < 1 || h.version > version:
		err = fmt.Errorf("version %d, this program knows 1 to %d", h.version, version)
	case h.flags&flagCompressed == 0 || h.flags&flagMarkers == 0:
		err = fmt.Errorf("flags %#x: not streamOptimized", h.flags)
	case h.flags&flagNewlines != 0 && string(b[73:77]) != newlines:
		err = fmt.Errorf("line ends are %q, want %q: it was transferred as text", b[73:77], newlines)
	case h.compression != deflate:
		err = fmt.Errorf("compression %d, this program knows %d, deflate", h.compression, deflate)
	case h.capacity > SizeMax/sector:
		err = fmt.Errorf("disk of %d sectors, the most is %d", h.capacity, SizeMax/sector)
	case h.grain < grainMin/sector || h.grain > grainMax/sector || h.grain&(h.grain-1) != 0:
		err = fmt.Errorf("grain of %d sectors, want a power of two from %d to %d", h.grain, grainMin/sector, grainMax/sector)
	case h.tableSize != tableSize:
		err = fmt.Errorf("tables of %d grains, want %d", h.tableSize, tableSize)
	case h.firstData < 1 || h.firstData > 2*h.tableSectors()+slackSectors:
		err = fmt.Errorf("first grain in sector %d, two sets of tables end before %d", h.firstData, 2*h.tableSectors()+slackSectors)
	case h.descSectors > descriptorMost:
		err = fmt.Errorf("descriptor of %d sectors, the most is %d", h.descSectors, descriptorMost)
	case h.descSectors > 0 && (h.descAt < 1 || h.descAt >= h.firstData || h.descAt+h.descSectors > h.firstData):
		err = fmt.Errorf("descriptor in sectors %d to %d, before it is the header and the first grain is in %d", h.descAt, h.descAt+h.descSectors, h.firstData)
	}
	return h, err
}

func divUp(a, b uint64) uint64 { return (a + b - 1) / b }

// tables is how many grain tables the disk has.
func (h header) tables() uint64 { return divUp(divUp(h.capacity, h.grain), tableSize) }

func (h header) directorySectors() uint64 { return divUp(h.tables()*4, sector) }

// tableSectors is what one directory and its tables take.
func (h header) tableSectors() uint64 { return h.directorySectors() + h.tables()*tableBytes/sector }
