// Package ova writes OVA files: a tar of an OVF descriptor, a machine's disks as
// streamOptimized VMDK, other files, and a manifest of SHA-256.
//
// A tar tells a file's size before its content, and the descriptor, which comes
// first, tells the sizes of all. Neither is known before a disk is encoded. So room
// is left for both, and they are written when the size is known: no disk is encoded
// twice, none lies in the destination twice, and what is written must be a file.
package ova

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// block is what a tar counts in. A header is one, an end two.
const block = 512

// octalMost is the largest size that a ustar header tells; a larger one is told in
// binary, as GNU tar and VMware's tools do.
const octalMost = 8<<30 - 1

// File is where an OVA is written: an empty file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// Writer writes one OVA. It is for one goroutine.
type Writer struct {
	out      File
	at       int64 // the next block
	time     time.Time
	name     string // of the descriptor
	room     int
	manifest bytes.Buffer
}

// New begins an OVA with room for a descriptor of a name. Files bear the time.
func New(out File, name string, room int, at time.Time) *Writer {
	return &Writer{out: out, at: block + blocks(int64(room)), time: at, name: name, room: room}
}

// Stream adds a file whose size is known when it is written, and returns the size.
func (w *Writer) Stream(name string, fill func(io.Writer) error) (size int64, err error) {
	sum := sha256.New()
	to := io.NewOffsetWriter(w.out, w.at+block)
	if err := fill(io.MultiWriter(to, sum)); err != nil {
		return 0, err
	}
	if size, err = to.Seek(0, io.SeekCurrent); err != nil {
		return 0, fmt.Errorf("ova: %s: %w", name, err)
	}
	if err := w.head(name, size, w.at); err != nil {
		return 0, err
	}
	w.list(name, sum.Sum(nil))
	return size, w.behind(size)
}

// Place adds a file of a size whose bytes are written in any order; those that are
// not are zero.
func (w *Writer) Place(name string, size int64, fill func(io.WriterAt) error) error {
	from := w.at + block
	if err := fill(io.NewOffsetWriter(w.out, from)); err != nil {
		return err
	}
	if err := w.head(name, size, w.at); err != nil {
		return err
	}
	if err := w.behind(size); err != nil {
		return err
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.NewSectionReader(w.out, from, size)); err != nil || n != size {
		return fmt.Errorf("ova: read %s again: %d bytes of %d: %w", name, n, size, err)
	}
	w.list(name, sum.Sum(nil))
	return nil
}

// Close writes the descriptor, which has at most the room that was left for it,
// and the manifest. The file is not made durable.
func (w *Writer) Close(descriptor []byte) error {
	if len(descriptor) > w.room {
		return fmt.Errorf("ova: %s has %d bytes, there is room for %d", w.name, len(descriptor), w.room)
	}
	descriptor = append(bytes.Clone(descriptor), bytes.Repeat([]byte{'\n'}, w.room-len(descriptor))...)
	if err := w.head(w.name, int64(w.room), 0); err != nil {
		return err
	}
	if err := w.write(descriptor, block); err != nil {
		return err
	}
	sum := sha256.Sum256(descriptor)
	w.list(w.name, sum[:])
	list := w.manifest.Bytes()
	if err := w.head(strings.TrimSuffix(w.name, ".ovf")+".mf", int64(len(list)), w.at); err != nil {
		return err
	}
	if err := w.write(list, w.at+block); err != nil {
		return err
	}
	return w.behind(int64(len(list)) + 2*block)
}

func (w *Writer) list(name string, sum []byte) {
	fmt.Fprintf(&w.manifest, "SHA256(%s)= %x\n", name, sum)
}

// behind moves on behind a file, which may end in zeros that nobody wrote.
func (w *Writer) behind(size int64) error {
	w.at += block + blocks(size)
	if err := w.out.Truncate(w.at); err != nil {
		return fmt.Errorf("ova: %w", err)
	}
	return nil
}

var errLongHead = errors.New("its name does not fit into one header")

// head writes the header of a file at a block.
func (w *Writer) head(name string, size, at int64) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: w.time.Truncate(time.Second), Format: tar.FormatUSTAR}
	if size > octalMost {
		h.Format = tar.FormatGNU
	}
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&h)
	if err == nil && b.Len() != block {
		err = errLongHead
	}
	if err != nil {
		return fmt.Errorf("ova: %s: %w", name, err)
	}
	return w.write(b.Bytes(), at)
}

func (w *Writer) write(b []byte, at int64) error {
	if _, err := w.out.WriteAt(b, at); err != nil {
		return fmt.Errorf("ova: write at byte %d: %w", at, err)
	}
	return nil
}

func blocks(n int64) int64 { return (n + block - 1) / block * block }

// nameMost leaves room for an extension in a header's 100 bytes.
const nameMost = 80

// Name is a name as every reader of tars and of OVF takes it: ASCII letters, digits,
// dots, dashes; the rest becomes "_".
func Name(s string) string {
	b := []byte(strings.ToValidUTF8(s, "_"))
	var out []byte
	for _, r := range string(b) {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			out = append(out, byte(r))
		default:
			out = append(out, '_')
		}
	}
	out = out[:min(len(out), nameMost)]
	if len(bytes.Trim(out, "._")) == 0 {
		return "machine"
	}
	return string(bytes.TrimLeft(out, "."))
}
