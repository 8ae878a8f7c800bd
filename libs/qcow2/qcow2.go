// Package qcow2 writes qcow2 images, version 3, with clusters of 64 KiB, neither
// compressed nor encrypted: what qemu and libvirt take.
//
// A writer keeps nothing of the disk in memory. The tables that say where each
// cluster lies have a place of their own before the first, as holes until they
// are needed; so a cluster's entry is read and written in the file itself.
package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// SizeMax bounds a disk; its first table is 1 MiB.
	SizeMax = 64 << 40

	clusterBits   = 16
	cluster       = 1 << clusterBits
	sector        = 512
	tableEntries  = cluster / 8 // places of one table: 512 MiB of the disk
	blockEntries  = cluster / 2 // counts of 16 bits in one block: 2 GiB of the file
	refcountOrder = 4           // 16 bits
	copied        = 1 << 63     // the one reference to a cluster
	headerBytes   = 104         // and no more fields
	magic         = uint32('Q'<<24 | 'F'<<16 | 'I'<<8 | 0xfb)
)

// File is where an image is written: an empty file, whose holes read as zeros.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// Writer writes one image. WriteAt may be called concurrently, Close last.
type Writer struct {
	out    File
	size   int64 // of the disk
	tables int64 // of places
	first  int64 // the cluster of the first table

	mu   sync.Mutex
	next int64 // the cluster that is taken next
}

// New begins the image of a disk of size bytes; what is no multiple of 512 is
// rounded up, because qemu counts in sectors. Until Close it is no image.
func New(out File, size int64) (*Writer, error) {
	if size < 0 || size > SizeMax {
		return nil, fmt.Errorf("qcow2: disk of %d bytes, want 0 to %d", size, int64(SizeMax))
	}
	w := &Writer{out: out, size: divUp(size, sector) * sector}
	w.tables = divUp(divUp(w.size, cluster), tableEntries)
	w.first = 1 + divUp(w.tables*8, cluster) // behind the header and the table of tables
	w.next = w.first + w.tables
	if err := out.Truncate(0); err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	return w, nil
}

// Size of the disk in bytes, a multiple of 512.
func (w *Writer) Size() int64 { return w.size }

// WriteAt writes bytes of the disk. What is never written is zero and takes no room.
func (w *Writer) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > w.size || int64(len(p)) > w.size-off {
		return 0, fmt.Errorf("qcow2: write %d bytes at byte %d of a disk of %d", len(p), off, w.size)
	}
	for n < len(p) {
		at := off + int64(n)
		part := p[n:min(len(p), n+int(cluster-at%cluster))]
		host, err := w.place(at / cluster)
		if err != nil {
			return n, err
		}
		k, err := w.out.WriteAt(part, host*cluster+at%cluster)
		if n += k; err != nil {
			return n, fmt.Errorf("qcow2: write at byte %d: %w", at, err)
		}
	}
	return n, nil
}

// place is the cluster of the file that holds one of the disk; the first who asks
// takes the next that is free.
func (w *Writer) place(no int64) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.first*cluster + no*8
	var b [8]byte
	if _, err := w.out.ReadAt(b[:], at); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("qcow2: place of cluster %d: %w", no, err)
	}
	if v := binary.BigEndian.Uint64(b[:]); v != 0 {
		return int64(v&^copied) / cluster, nil
	}
	binary.BigEndian.PutUint64(b[:], uint64(w.next)*cluster|copied)
	if _, err := w.out.WriteAt(b[:], at); err != nil {
		return 0, fmt.Errorf("qcow2: place of cluster %d: %w", no, err)
	}
	w.next++
	return w.next - 1, nil
}

func divUp(a, b int64) int64 { return (a + b - 1) / b }
