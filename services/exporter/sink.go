package exporter

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// extent stages an extent and tells of it.
func (x *exporting) extent(ctx context.Context, e *schemas.ExtentExported, blob []byte) error {
	n := number{e.File, e.Extent}
	begun, waited := x.env.Now(), x.waited
	ref, err := x.staged(ctx, n, e)
	if err == nil && ref == "" {
		ref, err = x.stage(ctx, n, blob)
	}
	if err != nil {
		return err
	}
	e.Blob = ref
	took := x.env.Now().Sub(begun) - (x.waited - waited) + time.Duration(e.ReadUs)*time.Microsecond
	return x.send(topics.Took(took, extentEvent(e))...)
}

// staged finds the blob that an exporter before us left for this extent. It was
// cut alike, so it is used again: its record may be on its way, and two blobs of
// one extent could fill a window that only their closing empties.
func (x *exporting) staged(ctx context.Context, n number, e *schemas.ExtentExported) (string, error) {
	for _, b := range x.space.at(n) {
		if b.Bytes != int64(e.LengthBytes) {
			continue
		}
		old := make([]byte, b.Bytes)
		if err := x.p.Share.Read(ctx, b.Ref, old, 0); err != nil {
			continue
		}
		if bytes.Equal(cut.NewDigester(x.deps.DigestKey).Blocks(nil, old, e.GridBytes), e.Digests) {
			x.space.take(n)
			return b.Ref, nil
		}
	}
	return "", x.space.free(n.file, n.extent)
}

// stage puts a blob into the window, when there is room.
func (x *exporting) stage(ctx context.Context, n number, blob []byte) (string, error) {
	begun := x.env.Now()
	err := x.space.wait(ctx, int64(len(blob)))
	x.waited += x.env.Now().Sub(begun)
	if err != nil {
		return "", err
	}
	var unique [6]byte
	rand.Read(unique[:])
	name := fmt.Sprintf("%d-%d-%x", n.file, n.extent, unique)
	wait := backoff.NewExponentialBackOff(backoff.WithMaxInterval(patience), backoff.WithMaxElapsedTime(0))
	for {
		ref, err := x.p.Share.Put(folder(x.run()), name, blob)
		if err == nil {
			x.space.add(n, staging.Blob{Ref: ref, Name: name, Bytes: int64(len(blob))})
			return ref, nil
		}
		if !errors.Is(err, staging.ErrFull) {
			return "", err
		}
		d := wait.NextBackOff()
		x.env.Log.Error("staging share is full: the export waits", "lease", folder(x.run()), "err", err, "again", d)
		x.env.Watch.Tell(stage.Note{Kind: stage.NoRoom, Stage: stageName, Err: err})
		x.waited += d
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (x *exporting) file(_ context.Context, f *schemas.FileExported) error {
	return x.send(fileEvent(f))
}

// reached writes down how far the reading is: what was told up to here is in the
// topics, and the log of pages is with the file system.
func (x *exporting) reached(_ context.Context, c *schemas.Cursor) error {
	if err := x.settle(); err != nil {
		return err
	}
	n, err := x.log.Flush()
	if err != nil {
		return err
	}
	return x.save(func(row *schemas.ExportOpen) {
		row.Cursors, row.Log, row.LogBytes = []*schemas.Cursor{c}, x.log.Name(), uint64(n)
		row.ExtentsOut = c.Extent
	})
}
