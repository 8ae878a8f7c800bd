package restorer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// run tries until the machine is back, or it can't be, or patience ends. However
// it ends, nothing half made is left, or the error says so.
func (b *bring) run(ctx context.Context) (*source.Returned, error) {
	wait := backoff.NewExponentialBackOff(backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
	b.last = b.env.Now()
	for tries := 0; ; {
		b.sent = false
		done, err := b.try(ctx)
		if err == nil {
			return done, nil
		}
		if b.sent {
			tries++
			wait.Reset()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // the row stands: the next process ends what is left
		}
		if final(err) || tries == triesMax || b.env.Now().Sub(b.last) > patience {
			return nil, b.leave(ctx, err)
		}
		b.env.Log.Warn("a machine is not back yet", "order", b.order.Name, "machine", b.order.Machine, "err", err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// leave removes what is half made, for good, and says what can't be removed.
func (b *bring) leave(ctx context.Context, err error) error {
	if _, endErr := b.endReturn(ctx, b.to, b.order); endErr != nil {
		err = fmt.Errorf("%w; and what is half made could not be removed: look for %s: %w", err, b.order.Name, endErr)
	}
	if b.order.InPlace && b.told.written > 0 {
		err = fmt.Errorf("%w; the machine's disks are restored in part: restore it again before it is switched on", err)
	}
	return err
}

// try brings the machine back once.
func (b *bring) try(ctx context.Context) (done *source.Returned, err error) {
	if done, err = b.to.EndReturn(ctx, b.order); err != nil || done != nil {
		return done, err
	}
	r, err := b.to.Return(ctx, b.order)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
		defer cancel()
		if e := r.Abort(end); e != nil {
			b.env.Log.Warn("what is half made is not removed yet", "order", b.order.Name, "err", e)
		}
	}()
	b.told.again(b.order.InPlace)
	for i, f := range b.disks {
		if err := b.disk(ctx, r, f, b.order.Files[i]); err != nil {
			return nil, err
		}
		b.told.file(f.SizeBytes)
	}
	return r.Finish(ctx)
}

// disk restores one: whole, or where it differs.
func (b *bring) disk(ctx context.Context, r source.Returning, f *schemas.PointFile, to source.File) error {
	if !b.order.InPlace {
		return b.stream(ctx, r, f, to)
	}
	whole := false
	err := retry(ctx, func() error {
		d, err := r.Disk(ctx, to)
		if err != nil {
			return err
		}
		defer d.Close()
		if d.Ranges() {
			n := &counted{DiskInPlace: d}
			defer func() { b.told.written += n.bytes.Load() }()
			return b.deps.Reader.Restore(ctx, b.p, f, n, vault.RestoreOptions{Compare: true, Done: func(bytes, _ uint64) { b.at(bytes, 0) }})
		}
		err = b.deps.Reader.Restore(ctx, b.p, f, mirror{d}, vault.RestoreOptions{Compare: true, Done: b.told.at})
		if errors.Is(err, errDiffers) {
			whole, err = true, nil
		}
		return err
	})
	if err != nil || !whole {
		return err
	}
	if err := b.stream(ctx, r, f, to); err != nil {
		return err
	}
	b.told.current = f.SizeBytes // zeros too
	return nil
}

// counted counts what is written in place, zeros too.
type counted struct {
	source.DiskInPlace
	bytes atomic.Uint64
}

func (c *counted) WriteAt(p []byte, off int64) (int, error) {
	n, err := c.DiskInPlace.WriteAt(p, off)
	c.bytes.Add(uint64(n))
	return n, err
}

// mirror is a sink that is compared and never written.
type mirror struct{ io.ReaderAt }

var errDiffers = errors.New("the disk there differs")

func (mirror) WriteAt([]byte, int64) (int, error) { return 0, errDiffers }

func (b *bring) stream(ctx context.Context, r source.Returning, f *schemas.PointFile, to source.File) error {
	s, err := r.Stream(ctx, to)
	if err != nil {
		return err
	}
	defer s.Cancel()
	next := int64(0) // weather at the vault does not cost what is sent: it is read again, and passed over
	err = retry(ctx, func() error {
		return b.deps.Reader.Stream(ctx, b.p, f, func(off int64, p []byte) error {
			if off < next {
				return nil
			}
			next = off + int64(len(p))
			if err := s.Write(off, p); err != nil {
				return backoff.Permanent(err)
			}
			return nil
		}, b.at)
	})
	if err != nil {
		return err
	}
	return s.Close()
}

// at notes that it goes on.
func (b *bring) at(bytes, written uint64) {
	b.sent, b.last = true, b.env.Now()
	b.told.at(bytes, written)
}
