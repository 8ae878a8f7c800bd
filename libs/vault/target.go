package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Target is one store of a vault, each on a device of its own.
type Target struct {
	Name  string
	Store blob.Store
}

const (
	// readsAtOnce is how many reads a process has in flight on one target. A
	// restore has 16 in all, and several may run.
	readsAtOnce = 32
	// readMax is how long one small read may take. Longer than any retry of
	// blob.Brief; a target that hangs must not hold a reader up for ever.
	readMax = 30 * time.Second
)

var (
	errNotConfigured = errors.New("no store is configured for it")
	errStranger      = errors.New("is no target of this vault: it has no " + settingsKey)
	// ErrTooFew means that fewer targets answered than what was asked needs. It
	// is weather: nothing is known of what was asked for.
	ErrTooFew = errors.New("too few targets answer")
)

// slot is a target at its place in the order of shards.
type slot struct {
	name   string     // as vault.json has it
	want   []byte     // its vault.json
	store  blob.Store // nil: none is configured
	reader blob.Store // store, limited, and retried for the weather's sake
	proven atomic.Bool
	silent atomic.Int64 // when it did not answer a read, in ns; 0: it did
}

func newSlot(name string, store blob.Store, want []byte) *slot {
	s := &slot{name: name, store: store, want: want}
	if store != nil {
		s.reader = blob.Retry(blob.Limit(store, readsAtOnce), blob.Brief)
	}
	return s
}

// prove reads the target's vault.json. Before it is the expected one nothing
// that the target says counts: an empty folder, where a share should be
// mounted, is sure that no object exists.
func (s *slot) prove(ctx context.Context) error {
	if s.store == nil {
		return errNotConfigured
	}
	got, err := within(ctx, readMax, func(ctx context.Context) ([]byte, error) { return s.store.Get(ctx, settingsKey, 0, -1) })
	if errors.Is(err, blob.ErrNotExist) {
		return errStranger // not ErrNotExist, which would count as an answer
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(got, s.want) {
		f, err := parseSettings(got)
		if err != nil {
			return err
		}
		return fmt.Errorf("holds target %s of %s", f.Target, f)
	}
	s.proven.Store(true)
	return nil
}

func (s *slot) fault(err error) error { return fmt.Errorf("target %s: %w", s.name, err) }

// open returns the store to read from. Its errors do not name the target.
func (s *slot) open(ctx context.Context) (blob.Store, error) {
	if !s.proven.Load() {
		if err := s.prove(ctx); err != nil {
			return nil, err
		}
	}
	return s.reader, nil
}

// within runs f, and leaves it behind if it has not returned after d: a store
// on a hard NFS mount listens to no context. f must not touch what its caller
// goes on to use.
func within[T any](ctx context.Context, d time.Duration, f func(context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer in %s", d))
	defer cancel()
	ch := make(chan answer, 1)
	go func() {
		v, err := f(ctx)
		ch <- answer{v, err}
	}()
	select {
	case a := <-ch:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
