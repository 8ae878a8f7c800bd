package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/source"
)

const (
	// aheadBytes is what one request reads of a disk in place: a compare asks for 64
	// KiB at a time, nearly in order, and a request costs a round trip.
	aheadBytes = 1 << 20
	// aheadBlocks of those are kept, 64 MiB: what is asked for is as scattered as the
	// packs of some windows of pages are.
	aheadBlocks = 64
)

// overlay is a disk in place.
type overlay struct {
	ctx context.Context // of the return: io.ReaderAt takes none
	r   *inPlace
	x   *disk
	url *url.URL

	mu     sync.Mutex
	blocks map[int64]*block
	order  []int64 // of the blocks, as they came
}

// block is read by whoever asks for it first.
type block struct {
	once sync.Once
	b    []byte
	err  error
}

// Disk opens a disk to be compared.
func (r *inPlace) Disk(ctx context.Context, f source.File) (source.DiskInPlace, error) {
	x := r.disks[f.Key]
	if x == nil {
		return nil, source.Permanent(fmt.Errorf("disk %s is not of this machine", brief(f.Key)))
	}
	p, err := datastorePath(flatName(x.file))
	if err != nil {
		return nil, r.fail(x, "find its flat file", err)
	}
	return &overlay{ctx: ctx, r: r, x: x, url: r.m.fileURL(p, r.places), blocks: map[int64]*block{}}, nil
}

// Ranges is what the probe found.
func (d *overlay) Ranges() bool {
	p, err := datastorePath(d.x.file)
	return err == nil && d.r.ranges[p.Datastore]
}

// ReadAt reads what lies there.
func (d *overlay) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= d.x.size {
			return n, io.EOF
		}
		b, err := d.block(at / aheadBytes)
		if err != nil {
			return n, d.r.fail(d.x, fmt.Sprintf("read at %d of its flat file", at), err)
		}
		n += copy(p[n:], b[at%aheadBytes:])
	}
	return n, nil
}

func (d *overlay) block(no int64) ([]byte, error) {
	d.mu.Lock()
	b := d.blocks[no]
	if b == nil {
		b = &block{}
		d.blocks[no] = b
		if d.order = append(d.order, no); len(d.order) > aheadBlocks {
			delete(d.blocks, d.order[0])
			d.order = d.order[1:]
		}
	}
	d.mu.Unlock()
	b.once.Do(func() {
		from := no * aheadBytes
		to := min(from+aheadBytes, d.x.size)
		body, err := d.r.s.getRange(d.ctx, d.url, from, to, d.x.size)
		if err != nil {
			b.err = err
			return
		}
		defer body.Close()
		b.b = make([]byte, to-from)
		_, b.err = io.ReadFull(body, b.b)
	})
	return b.b, b.err
}

// WriteAt writes a range of the flat file.
func (d *overlay) WriteAt(p []byte, off int64) (int, error) {
	if !d.Ranges() {
		return 0, source.Permanent(d.r.fail(d.x, "write", errors.New("its datastore takes no ranges")))
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.r.distrustOnce(d.ctx); err != nil {
		return 0, err
	}
	status, err := d.r.s.put(d.ctx, d.url.String(), p, fmt.Sprintf("bytes %d-%d/%d", off, off+int64(len(p))-1, d.x.size))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the datastore's HTTP service answers %d", status)
	}
	if err != nil {
		return 0, d.r.fail(d.x, fmt.Sprintf("write %d bytes at %d of its flat file", len(p), off), err)
	}
	return len(p), nil
}

// Close lets go of what was read.
func (d *overlay) Close() error {
	d.blocks, d.order = nil, nil
	return nil
}

// rewrite writes a disk's flat file whole.
type rewrite struct {
	r    *inPlace
	x    *disk
	up   *sending
	at   int64
	over bool
	stop func() bool
}

var zeros [64 << 10]byte

func (w *rewrite) Write(off int64, p []byte) error {
	if err := w.fill(off); err != nil {
		return err
	}
	return w.write(p)
}

// fill writes zeros up to an offset.
func (w *rewrite) fill(to int64) error {
	if to < w.at {
		return source.Permanent(w.r.fail(w.x, "write", fmt.Errorf("byte %d comes after byte %d", to, w.at)))
	}
	for w.at < to {
		if err := w.write(zeros[:min(int64(len(zeros)), to-w.at)]); err != nil {
			return err
		}
	}
	return nil
}

func (w *rewrite) write(p []byte) error {
	n, err := w.up.pipe.Write(p)
	w.at += int64(n)
	if err != nil {
		return w.r.fail(w.x, fmt.Sprintf("its upload broke at %d of %d", w.at, w.x.size), w.up.broken(err))
	}
	return nil
}

func (w *rewrite) Close() error {
	if err := w.fill(w.x.size); err != nil {
		return err
	}
	w.over = true
	defer w.stop()
	if err := w.up.finish(); err != nil {
		return w.r.fail(w.x, "write it whole", err)
	}
	return nil
}

// Cancel cuts it: the disk is then partly the old one's.
func (w *rewrite) Cancel() {
	if !w.over {
		w.over = true
		w.stop()
		w.up.giveUp()
	}
}
