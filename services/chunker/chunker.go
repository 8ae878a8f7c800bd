// Package chunker cuts exported extents into chunks and names them. It reads an
// extent's bytes from staging, believes them only if they have the hash that the
// exporter took, and tells two things: to the auditor, what each page must come
// to hold; to the deduper of each partition, which chunks to look for. It
// remembers nothing: the same extent twice gives the same records.
package chunker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// worker is what one extent at a time is cut with.
type worker struct {
	blob  []byte
	hash  *blake3.Hasher
	namer *cut.Namer
}

// workers is as many as there are cores: cutting is all CPU, and each holds a
// buffer of one extent, so rooms share them.
type workers chan *worker

func newWorkers(nameKey [32]byte) workers {
	w := make(workers, runtime.GOMAXPROCS(0))
	for range cap(w) {
		w <- &worker{hash: blake3.New(), namer: cut.NewNamer(nameKey)}
	}
	return w
}

type room struct {
	*shared
	parts int32 // of chunks.cut
}

// cut answers one extent. Bytes that are not there at the first look are waited
// for beside the room: after a crash many redelivered extents are long filed and
// freed, and each would keep the room for seconds.
func (r *room) cut(in *stage.In, e *schemas.ExtentExported) error {
	if err := check(e); err != nil {
		return stage.Refuse(fmt.Errorf("%s: %w", name(e), err))
	}
	events, err := r.answer(in, e, once)
	if errors.Is(err, errNotYet) {
		hold := in.Hold()
		in.Go(func(ctx context.Context) func() {
			if events := r.later(ctx, e); events != nil {
				return func() { hold.Release(events...) }
			}
			return nil // the room has ended
		})
		return nil
	}
	for _, ev := range events {
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
			var events []topics.Event
			if events, err = r.answer(ctx, e, ctx); err == nil {
				return events
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
	x, cuts := divide(e, w.blob, w.namer, r.parts)
	share(cuts, e.ReadUs+us(read.Sub(begun)), us(r.env.Now().Sub(read)))
	events := []topics.Event{topics.ExtentsCut.Event(e.Run.Backup, x)}
	key := topics.ExtentKey(e.Run.Backup, e.File, e.Extent)
	for part, c := range cuts {
		if c != nil {
			events = append(events, topics.ChunksCut.Event(key, c).To(int32(part)))
		}
	}
	return topics.Took(r.env.Now().Sub(begun), events...), nil
}

// read fills w.blob with an extent's bytes. A code says that they are lost for
// good, which ends the attempt if its pages are not filed yet: a redelivered
// extent that is long stored and removed is no harm. Any other error is weather.
func (w *worker) read(ctx context.Context, from *staging.Share, e *schemas.ExtentExported) (code string, err error) {
	if cap(w.blob) < int(e.LengthBytes) {
		w.blob = make([]byte, e.LengthBytes, cut.ExtentBytes)
	}
	w.blob = w.blob[:e.LengthBytes]
	if e.LengthBytes == 0 { // zeros alone have no blob
		return "", nil
	}
	if err := from.Read(ctx, e.Blob, w.blob, 0); errors.Is(err, staging.ErrMissing) {
		return "staging.missing", err
	} else if err != nil {
		return "", err
	}
	w.hash.Reset()
	w.hash.Write(w.blob)
	if sum := w.hash.Sum(nil); !bytes.Equal(sum, e.Blake3) {
		return "staging.hash", fmt.Errorf("blob %s of %d bytes has hash %x, the exporter wrote %x", e.Blob, e.LengthBytes, sum, e.Blake3)
	}
	return "", nil
}

func fault(e *schemas.ExtentExported, code string, why error) topics.Event {
	return topics.BackupsFaulted.Event(e.Run.Backup, &schemas.BackupFaulted{Run: e.Run, Stage: stageName, File: e.File, Extent: e.Extent,
		Code: code, Reason: fmt.Sprintf("%s: %v", name(e), why)})
}

func name(e *schemas.ExtentExported) string {
	return fmt.Sprintf("extent %d of file %d of backup %x", e.GetExtent(), e.GetFile(), e.GetRun().GetBackup())
}
