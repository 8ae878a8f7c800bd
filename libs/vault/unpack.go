package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Reads of one pack are merged where no more than gapMax lies between, up to
// readMost: what is skipped costs less than another request.
const (
	gapMax   = 256 << 10
	readMost = 4 << 20
	// writeMost is what one call writes at most, but for a single larger chunk: the
	// file system takes a quarter of the time for it that it takes for 16 of 64 KiB.
	writeMost = 1 << 20
)

var openers sync.Map // name key -> *sync.Pool of *opener

func (r *Reader) opener() (*opener, func(), error) {
	pool, _ := openers.LoadOrStore(r.ring.Name, &sync.Pool{})
	give := func(o *opener) func() { return func() { pool.(*sync.Pool).Put(o) } }
	if o, ok := pool.(*sync.Pool).Get().(*opener); ok {
		return o, give(o), nil
	}
	s, err := seal.NewOpener()
	if err != nil {
		return nil, nil, err
	}
	o := &opener{Opener: s, namer: cut.NewNamer(r.ring.Name)}
	return o, give(o), nil
}

// unpack restores the wants of one pack, which are in the order of their frames.
func (r *Reader) unpack(ctx context.Context, wants []want, f *schemas.PointFile, to Sink, compare bool) (written uint64, err error) {
	o, done, err := r.opener()
	if err != nil {
		return 0, err
	}
	defer done()
	if compare {
		if wants, err = o.missing(wants, to); err != nil || len(wants) == 0 {
			return 0, err
		}
	}
	pack := wants[0].Pack
	keys, err := r.packKeys(ctx, pack)
	if err != nil {
		return 0, fmt.Errorf("place at byte %d: %w", wants[0].at, err)
	}
	for i := 0; i < len(wants); {
		if ctx.Err() != nil {
			return written, ctx.Err()
		}
		from, end := int64(wants[i].Offset), int64(wants[i].Offset)+int64(wants[i].Framed)
		j := i + 1
		for ; j < len(wants); j++ {
			next := int64(wants[j].Offset) + int64(wants[j].Framed)
			if int64(wants[j].Offset) > end+gapMax || next-from > readMost {
				break
			}
			end = max(end, next)
		}
		some := wants[i:j]
		err := r.sound(ctx, pack, false, from, end-from, func(b []byte) error {
			n, err := o.write(keys, some, b, from, to)
			if err == nil {
				written += n
			}
			return err
		})
		if err != nil {
			return written, fmt.Errorf("of %s: %w", f.Key, err)
		}
		i = j
	}
	return written, nil
}

// write opens each frame, compares its name and writes it, neighbours in the file
// with one call. It stops at the first that is wrong; what it wrote before is right.
func (o *opener) write(keys PackKeys, wants []want, b []byte, from int64, to io.WriterAt) (n uint64, err error) {
	o.plain = slices.Grow(o.plain[:0], writeMost)
	at := uint64(0) // where in the file o.plain goes
	flush := func() error {
		if _, err := to.WriteAt(o.plain, int64(at)); err != nil {
			return sinkError{fmt.Errorf("write at byte %d: %w", at, err)}
		}
		n, o.plain = n+uint64(len(o.plain)), o.plain[:0]
		return nil
	}
	var last []byte // the chunk before
	for i, w := range wants {
		if end := len(o.plain); end > 0 && (w.at != at+uint64(end) || end+int(w.plain) > cap(o.plain)) {
			if err := flush(); err != nil {
				return n, err
			}
		}
		begin := len(o.plain)
		if begin == 0 {
			at = w.at
		}
		if i > 0 && w.ID == wants[i-1].ID && w.Offset == wants[i-1].Offset {
			o.plain = append(o.plain, last...)
		} else if err := o.append(keys, w, b[int64(w.Offset)-from:]); err != nil {
			return n, err
		}
		if last = o.plain[begin:]; len(last) != int(w.plain) {
			return n, fmt.Errorf("place at byte %d, chunk %s: %w: %d bytes for a place of %d", w.at, w.ID, ErrDamaged, len(last), w.plain)
		}
	}
	return n, flush()
}

// append opens the frame that b begins with behind o.plain.
func (o *opener) append(keys PackKeys, w want, b []byte) error {
	plain, err := keys.Open(o.Opener, o.plain, w.ID, b[:w.Framed])
	if err != nil {
		return fmt.Errorf("place at byte %d, chunk %s: %w: %w", w.at, w.ID, ErrDamaged, err)
	}
	if o.namer.ID(plain[len(o.plain):]) != w.ID {
		return fmt.Errorf("place at byte %d: %w: the chunk under the name %s is another", w.at, ErrDamaged, w.ID)
	}
	o.plain = plain
	return nil
}

// sinkError is trouble of the sink: other shards do not cure it.
type sinkError struct{ error }

func (w sinkError) Unwrap() error { return w.error }

// missing returns the wants that the sink does not hold already.
func (o *opener) missing(wants []want, to io.ReaderAt) (left []want, err error) {
	for _, w := range wants {
		if cap(o.there) < int(w.plain) {
			o.there = make([]byte, w.plain)
		}
		there := o.there[:w.plain]
		n, err := to.ReadAt(there, int64(w.at))
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("compare at byte %d: %w", w.at, err)
		}
		if n < len(there) || o.namer.ID(there) != w.ID {
			left = append(left, w)
		}
	}
	return left, nil
}

// clearRange makes a stretch of the sink zero where it is not.
func clearRange(to Sink, h hole) error {
	buf, zero := make([]byte, 1<<20), make([]byte, 64<<10) // read in bulk; write what differs only
	for h.n > 0 {
		b := buf[:min(h.n, uint64(len(buf)))]
		n, err := to.ReadAt(b, int64(h.at))
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("compare at byte %d: %w", h.at, err)
		}
		for i := 0; i < n; i += len(zero) {
			piece := b[i:min(i+len(zero), n)]
			if cut.Zero(piece) {
				continue
			}
			if _, err := to.WriteAt(zero[:len(piece)], int64(h.at)+int64(i)); err != nil {
				return fmt.Errorf("write at byte %d: %w", h.at+uint64(i), err)
			}
		}
		h.at, h.n = h.at+uint64(len(b)), h.n-uint64(len(b))
	}
	return nil
}
