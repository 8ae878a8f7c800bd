package pagelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Log is the sealed log of a base.
type Log struct {
	f     *os.File
	lease schemas.UUID
	end   int64
	files map[string]section
}

// Open opens the log of a lease. ErrNone if there is none, or it is torn.
func (l Logs) Open(lease schemas.UUID) (*Log, error) {
	f, err := os.Open(l.sealed(lease))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lease %s: %w", lease, ErrNone)
	} else if err != nil {
		return nil, fmt.Errorf("open log of pages: %w", err)
	}
	log := &Log{f: f, lease: lease, files: map[string]section{}}
	if err := log.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("lease %s: %w", lease, err)
	}
	return log, nil
}

func (l *Log) load() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	l.end = info.Size()
	if _, err := newScanner(l.f, l.lease, l.end); err != nil {
		return err
	}
	tail := make([]byte, tailBytes)
	if _, err := l.f.ReadAt(tail, max(0, l.end-int64(tailBytes))); err != nil || string(tail[8:]) != magic {
		return fmt.Errorf("log of pages has no tail: %w", ErrNone)
	}
	at := binary.BigEndian.Uint64(tail)
	if at > uint64(l.end) {
		return fmt.Errorf("log of pages has no index: %w", ErrNone)
	}
	rec, err := scannerAt(l.f, l.lease, int64(at), l.end).next()
	if err != nil {
		return err
	}
	if rec[0] != kindIndex {
		return fmt.Errorf("log of pages has no index: %w", ErrNone)
	}
	all, err := parseIndex(rec)
	for _, s := range all {
		l.files[s.key] = s
	}
	return err
}

// Close closes the log and its cursors.
func (l *Log) Close() error { return l.f.Close() }

// Cursor walks the pages of one file, in ascending order.
type Cursor struct {
	Size int64
	Grid uint32

	s       *scanner
	page    Page
	digests Digests
	have    bool
}

// File returns a cursor over a file's pages. ok is false if the log has no such file.
func (l *Log) File(key string) (c *Cursor, ok bool) {
	at, ok := l.files[key]
	if !ok {
		return nil, false
	}
	s := scannerAt(l.f, l.lease, at.at, l.end)
	rec, err := s.next()
	if err != nil || rec[0] != kindFile {
		return nil, false
	}
	f := parseFile(rec)
	if f.key != key {
		return nil, false
	}
	return &Cursor{Size: f.size, Grid: f.grid, s: s}, true
}

// Page returns the digests of a page's places as the base held them, until the
// next call; nil if the log proves nothing of it. Numbers ascend from call to call.
func (c *Cursor) Page(no uint32) *Digests {
	for c.s != nil && (!c.have || c.page.No < no) {
		rec, err := c.s.next()
		if err != nil || rec[0] != kindPage {
			c.s, c.have = nil, false // the next file, the index, or torn
			return nil
		}
		c.page, c.have = parsePage(rec, &c.digests), true
	}
	if c.have && c.page.No == no {
		return c.page.Digests
	}
	return nil
}
