package sealer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
)

// readFor is how long a share that errs is asked again before its chunks are lost.
const readFor = 5 * time.Minute

// tool is what one worker seals with.
type tool struct {
	namer *cut.Namer
	press *seal.Compressor
	arena []byte // bodies of one group
	made  []piece
}

func newTool(d Deps) (*tool, error) {
	press, err := seal.NewCompressor(d.Codec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stageName, err)
	}
	return &tool{namer: cut.NewNamer(d.Ring.Name), press: press, arena: make([]byte, 0, groupBytes+groupBytes/16)}, nil
}

// piece is a chunk on its way into a pack. Its body is the tool's or the reader's memory.
type piece struct {
	ref
	body  []byte
	codec seal.Codec
	took  time.Duration
}

// read reads groups and seals them. Each reader has one buffer.
func (e *engine) read() {
	var buf []byte
	for {
		select {
		case <-e.ctx.Done():
			return
		case g := <-e.tasks:
			if n := int(g.to - g.from); cap(buf) < n {
				buf = make([]byte, n)
			}
			if e.group(g, buf[:g.to-g.from]) {
				e.mu.Lock()
				e.flying--
				e.mu.Unlock()
			}
			if cap(buf) > groupBytes {
				buf = nil // a chunk of up to 16 MiB: not kept by each of the readers
			}
		}
	}
}

// group seals one group, or says that it is parked and comes again.
func (e *engine) group(g group, buf []byte) (done bool) {
	code, err := e.fetch(g, buf)
	switch {
	case errors.Is(err, errParked):
		return false
	case e.ctx.Err() != nil:
		return true
	case err != nil:
		e.settle(g.refs, code, err.Error())
		return true
	}
	select {
	case <-e.ctx.Done():
	case t := <-e.tools:
		e.append(e.prepare(t, g, buf))
		e.tools <- t
	}
	return true
}

// errParked means that a reader waits for the group's blob already.
var errParked = errors.New("its blob is waited for")

// park leaves a group to whoever waits for its blob. It says no to the first of each
// blob, which is to wait: an extent has up to 16 groups, so one that is not there would
// else take all readers, and after a restart each extent that was freed meanwhile
// would take them for 5 s, one after another.
func (e *engine) park(g group) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting, first := e.parked[g.blob]
	if first = !first; first {
		e.parked[g.blob] = nil
	} else {
		e.parked[g.blob] = append(waiting, g)
	}
	return !first
}

// unpark hands out again what was parked while its blob was waited for.
func (e *engine) unpark(blob string) {
	e.mu.Lock()
	e.again = append(e.again, e.parked[blob]...)
	delete(e.parked, blob)
	e.mu.Unlock()
	e.ring()
}

// fetch reads a group's bytes. A code says that they are lost, errParked that the
// group comes again.
func (e *engine) fetch(g group, buf []byte) (code string, err error) {
	e.mu.Lock()
	missing := e.missing[g.blob]
	e.mu.Unlock()
	if missing {
		return "missing", fmt.Errorf("read %s: %w", g.blob, staging.ErrMissing)
	}
	if err := e.deps.Staging.Look(g.blob, buf, int64(g.from)); err == nil {
		return "", nil
	} else if errors.Is(err, staging.ErrMissing) {
		if e.park(g) {
			return "", errParked
		}
		defer e.unpark(g.blob)
	}
	again := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(readFor)), e.ctx)
	err = backoff.RetryNotify(func() error {
		err := e.deps.Staging.Read(e.ctx, g.blob, buf, int64(g.from))
		if errors.Is(err, staging.ErrMissing) {
			return backoff.Permanent(err)
		}
		return err
	}, again, func(err error, d time.Duration) {
		e.env.Log.Warn("staging is not read", "blob", g.blob, "again", d, "err", err)
	})
	if errors.Is(err, staging.ErrMissing) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.missing) >= missingMax {
			clear(e.missing)
		}
		e.missing[g.blob] = true // names are never used twice: what is gone stays gone
		return "missing", err
	}
	return "unreadable", err
}

// prepare checks and compresses a group's chunks. What is not what it is called is
// settled here and left out.
func (e *engine) prepare(t *tool, g group, buf []byte) []piece {
	t.arena, t.made = t.arena[:0], t.made[:0]
	var wrong []ref
	for _, r := range g.refs {
		start := e.env.Now()
		plain := buf[r.from()-g.from : r.to()-g.from]
		if t.namer.ID(plain) != r.id() {
			wrong = append(wrong, r)
			continue
		}
		body, codec := t.press.Compress(t.arena[len(t.arena):], plain)
		if codec != seal.Raw && cap(t.arena)-len(t.arena) >= len(body) {
			t.arena = t.arena[:len(t.arena)+len(body)] // where it has room, the body lies in the arena
		}
		t.made = append(t.made, piece{r, body, codec, e.env.Now().Sub(start)})
	}
	if len(wrong) > 0 {
		e.settle(wrong, "mismatch", fmt.Sprintf("place %d at %d of %s is not chunk %s", wrong[0].place(), wrong[0].from(), g.blob, wrong[0].id()))
	}
	return t.made
}

// forever retries what only weather can fail, until the engine ends.
func (e *engine) forever(what string, f func() error) error {
	again := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(10*time.Second)), e.ctx)
	return backoff.RetryNotify(func() error {
		err := f()
		if errors.Is(err, context.Canceled) {
			return backoff.Permanent(err)
		}
		return err
	}, again, func(err error, d time.Duration) {
		e.env.Log.Warn(what, "again", d, "err", err)
		if errors.Is(err, staging.ErrFull) {
			e.env.Watch.Tell(stage.Note{Kind: stage.NoRoom, Stage: stageName, Err: err})
		}
	})
}
