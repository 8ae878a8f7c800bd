package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// ErrConflict means that the object is there with other bytes. Nothing cures it.
var ErrConflict = errors.New("object exists with other bytes")

// laggards is how long the other targets are waited for once k have answered.
const laggards = 2 * time.Second

// Small reads a whole object. blob.ErrNotExist means that k targets or more are
// sure they have none, so that it was never put on the m+1 that make it durable;
// ErrTooFew, that nobody can say. Copies are not compared: give SmallSound a check.
func (v *Vault) Small(ctx context.Context, key string) ([]byte, error) {
	return v.SmallSound(ctx, key, func([]byte) error { return nil })
}

// SmallSound is Small for objects that can be checked: a copy that sound refuses
// is passed over for another. If there are copies and none is sound, the error
// is of each, as sound gave it. sound may be called concurrently.
func (v *Vault) SmallSound(ctx context.Context, key string, sound func([]byte) error) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errs, bad []error
	sure := 0
	for a := range answers(ctx, v, func() int { return sure }, func(ctx context.Context, s blob.Store) ([]byte, error) {
		b, err := s.Get(ctx, key, 0, -1)
		if err == nil {
			if err := sound(b); err != nil {
				return nil, unsound{err}
			}
		}
		return b, err
	}) {
		switch _, unsound := errors.AsType[unsound](a.err); {
		case a.err == nil:
			return a.v, nil
		case unsound:
			bad = append(bad, a.err)
		case errors.Is(a.err, blob.ErrNotExist):
			sure++
		default:
			errs = append(errs, a.err)
		}
	}
	switch {
	case len(bad) > 0:
		return nil, fmt.Errorf("read %s: %w", key, errors.Join(bad...))
	case sure >= v.K:
		return nil, fmt.Errorf("read %s: %w", key, blob.ErrNotExist)
	}
	return nil, fmt.Errorf("read %s: %w: %d are sure of it, %d are needed: %w", key, ErrTooFew, sure, v.K, errors.Join(errs...))
}

type unsound struct{ error }

func (u unsound) Unwrap() error { return u.error }

// ListSmall is the keys of whole objects that begin with prefix, sorted: the
// union of what k targets or more list.
func (v *Vault) ListSmall(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := map[string]bool{}
	var errs []error
	whole := 0
	for a := range answers(ctx, v, func() int { return whole }, func(ctx context.Context, s blob.Store) (keys []string, err error) {
		for i, err := range s.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			keys = append(keys, i.Key)
		}
		return keys, nil
	}) {
		if a.err != nil {
			errs = append(errs, a.err)
			continue
		}
		whole++
		for _, k := range a.v {
			keys[k] = true
		}
	}
	if whole < v.K {
		return nil, fmt.Errorf("list %s: %w: %d, %d are needed: %w", prefix, ErrTooFew, whole, v.K, errors.Join(errs...))
	}
	return slices.Sorted(maps.Keys(keys)), nil
}

type answer[T any] struct {
	v   T
	err error
}

// answers asks every target at once and yields what they say as it comes. Once
// enough() of them counted, those that are late get no more than laggards.
func answers[T any](ctx context.Context, v *Vault, enough func() int, q func(context.Context, blob.Store) (T, error)) func(func(answer[T]) bool) {
	return func(yield func(answer[T]) bool) {
		ch := make(chan answer[T], len(v.slots))
		for _, s := range v.slots {
			go func() {
				got, err := within(ctx, readMax, func(ctx context.Context) (T, error) {
					store, err := s.open(ctx)
					if err != nil {
						var zero T
						return zero, err
					}
					return q(ctx, store)
				})
				if err != nil {
					err = s.fault(err)
				}
				ch <- answer[T]{got, err}
			}()
		}
		var late <-chan time.Time
		for range v.slots {
			if late == nil && enough() >= v.K {
				late = time.After(laggards)
			}
			select {
			case a := <-ch:
				if !yield(a) {
					return
				}
			case <-late:
				return
			}
		}
	}
}

// compare says whether the object under key has these bytes: nil, ErrConflict, or weather.
func compare(ctx context.Context, s blob.Store, key string, body []byte) error {
	got, err := s.Get(ctx, key, 0, -1)
	if err != nil {
		return fmt.Errorf("compare %s: %w", key, err)
	}
	if !bytes.Equal(got, body) {
		return fmt.Errorf("put %s: %w", key, ErrConflict)
	}
	return nil
}
