package chunker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// worker is what one extent of a stream at a time is cut with.
type worker struct {
	blob  []byte
	sums  []byte
	namer *cut.Namer
}

// workers is as many as there are cores: cutting is all CPU, and each holds a
// buffer of one extent, so rooms share them.
type workers chan *worker

func newWorkers(nameKey [32]byte) workers {
	w := make(workers, runtime.GOMAXPROCS(0))
	for range cap(w) {
		w <- &worker{namer: cut.NewNamer(nameKey)}
	}
	return w
}

// stream answers an extent of a stream. Bytes that are not there at the first look
// are waited for beside the room: after a crash many redelivered extents are long
// filed and freed, and each would keep the room for seconds.
func (r *room) stream(in *stage.In, e *schemas.ExtentExported) error {
	all, err := r.answer(in, e, once)
	if errors.Is(err, errNotYet) {
		hold := in.Hold()
		in.Go(func(ctx context.Context) func() {
			if all := r.later(ctx, e); all != nil {
				return func() { hold.Release(all...) }
			}
			return nil // the room has ended
		})
		return nil
	}
	for _, ev := range all {
		in.Emit(ev)
	}
	return err
}

// later answers an extent whose bytes may still show up. It ends early with its context.
func (r *room) later(ctx context.Context, e *schemas.ExtentExported) []topics.Event {
	var last [1]byte
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		err := r.deps.Staging.Read(ctx, e.Blob, last[:], int64(e.LengthBytes)-1)
		if errors.Is(err, staging.ErrMissing) {
			return []topics.Event{fault(e, "staging.missing", err)}
		}
		if err == nil {
			var all []topics.Event
			if all, err = r.answer(ctx, e, ctx); err == nil {
				return all
			}
		}
		r.env.Log.Warn("extent is tried again", "extent", name(e), "err", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// once is a context that is over: who reads with it looks once and does not wait.
var once = func() context.Context {
	ctx, stop := context.WithCancelCause(context.Background())
	stop(errNotYet)
	return ctx
}()

var errNotYet = errors.New("not there yet")

// answer is what is to be said of an extent: its cut, or that it is lost. patience
// is how long its bytes are waited for.
func (r *room) answer(ctx context.Context, e *schemas.ExtentExported, patience context.Context) ([]topics.Event, error) {
	var w *worker
	select {
	case w = <-r.workers:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { r.workers <- w }()
	begun := r.env.Now()
	code, err := w.read(patience, r.deps.Staging, e)
	if code != "" {
		return []topics.Event{fault(e, code, err)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name(e), err)
	}
	read := r.env.Now()
	x, cuts := cutStream(e, w.blob, w.namer, r.parts)
	share(cuts, e.ReadUs+us(read.Sub(begun)), us(r.env.Now().Sub(read)))
	return topics.Took(r.env.Now().Sub(begun), events(e, x, cuts)...), nil
}

// read fills w.blob with an extent's bytes. A code says that they are lost for
// good, which ends the attempt if its pages are not filed yet: a redelivered
// extent that is long stored and removed is no harm. Any other error is weather.
func (w *worker) read(ctx context.Context, from *staging.Share, e *schemas.ExtentExported) (code string, err error) {
	if cap(w.blob) < int(e.LengthBytes) {
		w.blob = make([]byte, e.LengthBytes, cut.ExtentBytes)
	}
	w.blob = w.blob[:e.LengthBytes]
	if err := from.Read(ctx, e.Blob, w.blob, 0); errors.Is(err, staging.ErrMissing) {
		return "staging.missing", err
	} else if err != nil {
		return "", err
	}
	if w.sums = w.namer.Blocks(w.sums[:0], w.blob, e.GridBytes); !bytes.Equal(w.sums, e.Digests) {
		return "staging.hash", fmt.Errorf("blob %s of %d bytes has other digests than the exporter took", e.Blob, e.LengthBytes)
	}
	return "", nil
}
