package main

import (
	"context"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

const (
	grid = cut.GridDefault
	// pieceBytes is read at once. What is read is digested and compressed while it
	// lies in a core's cache.
	pieceBytes = 4 * grid
)

// disk is one file that is backed up.
type disk struct {
	snap  source.Snapshot
	file  source.File
	mu    sync.Mutex           // of snap
	chunk [][]*vault.PagePlace // by page and place; a page that is nil is all zero
}

// task is a stretch of one page.
type task struct {
	d        *disk
	off, len int64
}

// worker does all that is done to a chunk, and fills a pack of its own.
type worker struct {
	s      *straight
	namer  *cut.Namer
	press  *seal.Compressor
	buf    []byte
	body   []byte
	pack   *vault.Builder
	places []*vault.PagePlace

	d    *disk // that r reads
	r    source.Reader
	read int64
	new  int64
}

func (s *straight) worker() (*worker, error) {
	press, err := seal.NewCompressor(s.codec)
	return &worker{s: s, namer: cut.NewNamer(s.ring.Name), press: press, buf: make([]byte, pieceBytes), body: make([]byte, 0, 2*grid)}, err
}

func (w *worker) all(ctx context.Context, tasks <-chan task) error {
	defer func() {
		if w.r != nil {
			w.r.Close()
		}
	}()
	for t := range tasks {
		if err := w.open(ctx, t.d); err != nil {
			return err
		}
		for t.len > 0 {
			b := w.buf[:min(t.len, pieceBytes)]
			if err := w.r.ReadAt(ctx, b, t.off); err != nil {
				return err
			}
			w.read += int64(len(b))
			if err := w.piece(t.d, t.off, b); err != nil {
				return err
			}
			t.off, t.len = t.off+int64(len(b)), t.len-int64(len(b))
		}
	}
	if w.pack == nil {
		return nil
	}
	return w.s.ship(w.pack, w.places)
}

func (w *worker) open(ctx context.Context, d *disk) (err error) {
	if w.d == d {
		return nil
	}
	if w.r != nil {
		w.r.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w.d = d
	w.r, err = d.snap.Open(ctx, d.file, 0)
	return err
}

// piece names the chunks of some bytes and stores those that nobody has.
func (w *worker) piece(d *disk, off int64, b []byte) error {
	for len(b) > 0 {
		plain := b[:min(grid, len(b))]
		if !cut.Zero(plain) {
			p, fresh := w.s.claim(w.namer.ID(plain))
			d.chunk[off/grid/cut.PagePlaces][off/grid%cut.PagePlaces] = p
			if fresh {
				if err := w.store(p, plain); err != nil {
					return err
				}
			}
		}
		off, b = off+int64(len(plain)), b[len(plain):]
	}
	return nil
}

func (w *worker) store(p *vault.PagePlace, plain []byte) error {
	w.new += int64(len(plain))
	body, codec := w.press.Compress(w.body, plain)
	if w.pack != nil && !w.pack.Fits(len(body)) {
		if err := w.s.ship(w.pack, w.places); err != nil {
			return err
		}
		w.pack = nil
	}
	if w.pack == nil {
		var err error
		if w.pack, err = vault.NewBuilder(w.s.ring, vault.BuilderOptions{Buf: <-w.s.bufs}); err != nil {
			return err
		}
		w.places = nil
	}
	w.places = append(w.places, p)
	_, err := w.pack.Append(p.ID, body, codec, len(plain))
	return err
}
