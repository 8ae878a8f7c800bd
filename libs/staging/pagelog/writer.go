package pagelog

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Writer writes the log of one lease. It is for one goroutine, and dead after any error.
type Writer struct {
	logs  Logs
	f     *os.File
	buf   *bufio.Writer
	check *checker
	at    int64
	index []section
	rec   []byte
}

type section struct {
	key  string
	size int64
	grid uint32
	at   int64 // of its file record
}

// Create begins a log.
func (l Logs) Create(lease schemas.UUID) (*Writer, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log of pages: %w", err)
	}
	var u [8]byte
	rand.Read(u[:])
	f, err := os.OpenFile(fmt.Sprintf("%s.%x.open", l.sealed(lease), u), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make log of pages: %w", err)
	}
	w := &Writer{logs: l, f: f, buf: bufio.NewWriterSize(f, 256<<10), check: newChecker(lease)}
	w.buf.WriteString(magic)
	w.buf.Write(lease[:])
	w.at = int64(headBytes)
	return w, nil
}

// Resume goes on with the first n bytes of the log that Name named: in a file of
// its own, because the process that wrote the first may only be frozen and write
// on. ErrNone if those bytes are not whole.
func (l Logs) Resume(lease schemas.UUID, name string, n int64) (w *Writer, err error) {
	if name == "" || name != filepath.Base(name) {
		return nil, fmt.Errorf("log of pages %q: %w", name, ErrNone)
	}
	old := filepath.Join(l.dir, name)
	f, err := os.Open(old)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("log of pages %s: %w", name, ErrNone)
	} else if err != nil {
		return nil, fmt.Errorf("open log of pages: %w", err)
	}
	defer f.Close()
	if w, err = l.Create(lease); err != nil {
		return nil, err
	}
	if err := w.copy(f, n); err != nil {
		w.Close()
		os.Remove(w.f.Name())
		return nil, err
	}
	return w, os.Remove(old)
}

// copy takes over records that are whole.
func (w *Writer) copy(f *os.File, n int64) error {
	r, err := newScanner(f, w.check.lease, n)
	if err != nil {
		return err
	}
	for r.at < n {
		at := r.at
		rec, err := r.next()
		if err != nil {
			return err
		}
		if rec[0] == kindFile {
			s := parseFile(rec)
			s.at = at
			w.index = append(w.index, s)
		}
		if err := w.append(rec); err != nil {
			return err
		}
	}
	if w.at != n {
		return fmt.Errorf("log of pages ends at %d, want %d: %w", w.at, n, ErrNone)
	}
	return nil
}

// Name is what Resume takes.
func (w *Writer) Name() string { return filepath.Base(w.f.Name()) }

// File begins the next file. Keys come in ascending order.
func (w *Writer) File(key string, size int64, grid uint32) error {
	if len(key) > maxKey {
		return fmt.Errorf("log of pages: key of %d bytes", len(key))
	}
	w.index = append(w.index, section{key, size, grid, w.at})
	w.rec = append(w.rec[:0], kindFile)
	w.rec = binary.BigEndian.AppendUint64(w.rec, uint64(size))
	w.rec = binary.BigEndian.AppendUint32(w.rec, grid)
	w.rec = binary.BigEndian.AppendUint16(w.rec, uint16(len(key)))
	w.rec = append(w.rec, key...)
	return w.append(w.rec)
}

// Page logs a page of the file begun last. Pages come in ascending order.
func (w *Writer) Page(p Page) error {
	kind := byte(kindBare)
	if p.Digests != nil {
		kind = kindPage
	}
	w.rec = append(w.rec[:0], kind)
	w.rec = binary.BigEndian.AppendUint32(w.rec, p.No)
	w.rec = append(w.rec, byte(p.What))
	if p.Digests != nil {
		for i := range p.Digests {
			w.rec = append(w.rec, p.Digests[i][:]...)
		}
	}
	return w.append(w.rec)
}

func (w *Writer) append(rec []byte) error {
	check := w.check.sum(w.at, rec)
	w.buf.Write(rec)
	_, err := w.buf.Write(check[:])
	w.at += int64(len(rec) + checkBytes)
	if err != nil {
		return fmt.Errorf("write log of pages: %w", err)
	}
	return nil
}

// Flush hands all to the file system, and says how many bytes that is: what
// Resume takes.
func (w *Writer) Flush() (int64, error) {
	if err := w.buf.Flush(); err != nil {
		return 0, fmt.Errorf("write log of pages: %w", err)
	}
	return w.at, nil
}

// Began reports whether the file begun last is this one: after Resume.
func (w *Writer) Began(key string) bool {
	return len(w.index) > 0 && w.index[len(w.index)-1].key == key
}

// Pages yields what was logged of the file begun last. Page.Digests is nil.
func (w *Writer) Pages() iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		end, err := w.Flush()
		if err != nil {
			yield(Page{}, err)
			return
		}
		r := scannerAt(w.f, w.check.lease, w.index[len(w.index)-1].at, end)
		for r.at < end {
			rec, err := r.next()
			if err != nil {
				yield(Page{}, err)
				return
			}
			if rec[0] == kindFile {
				continue
			}
			if !yield(parsePage(rec, nil), nil) {
				return
			}
		}
	}
}

// Seal ends the log and gives it the lease's name: from here it can be a base.
func (w *Writer) Seal() error {
	at := w.at
	w.rec = append(w.rec[:0], kindIndex)
	w.rec = binary.BigEndian.AppendUint32(w.rec, uint32(len(w.index)))
	for _, s := range w.index {
		w.rec = binary.BigEndian.AppendUint64(w.rec, uint64(s.at))
		w.rec = binary.BigEndian.AppendUint16(w.rec, uint16(len(s.key)))
		w.rec = append(w.rec, s.key...)
	}
	if err := w.append(w.rec); err != nil {
		return err
	}
	tail := binary.BigEndian.AppendUint64(nil, uint64(at))
	w.buf.Write(append(tail, magic...))
	if _, err := w.Flush(); err != nil {
		return err
	}
	if err := os.Rename(w.f.Name(), w.logs.sealed(w.check.lease)); err != nil {
		return fmt.Errorf("seal log of pages: %w", err)
	}
	return nil
}

// Close lets go of the file and leaves it as it is.
func (w *Writer) Close() error { return w.f.Close() }

var _ io.Closer = (*Writer)(nil)
