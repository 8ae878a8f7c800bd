package blob

import (
	"context"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy says how long weather is waited for.
type Policy struct {
	First time.Duration // the first wait, then doubled, each half at random
	Most  time.Duration // of one wait
	Total time.Duration // of all tries; 0: until the context ends
}

// Brief is for readers, who can ask another store: about four tries.
var Brief = Policy{First: 50 * time.Millisecond, Most: time.Second, Total: 2 * time.Second}

// Waits is p as a sequence of waits. It is for one call.
func (p Policy) Waits(ctx context.Context) backoff.BackOffContext {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.First), backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(p.Most), backoff.WithMaxElapsedTime(p.Total))
	return backoff.WithContext(b, ctx)
}

// Retry is s with each call repeated while it fails by weather. A Put that was
// done and said to have failed ends as ErrExist, which the caller understands as
// for any Put. A List goes on behind the last object it yielded.
func Retry(s Store, p Policy) Store { return &retry{s, p} }

type retry struct {
	s Store
	p Policy
}

func (r *retry) do(ctx context.Context, call func() error) error {
	return backoff.Retry(func() error {
		err := call()
		if err != nil && (Permanent(err) || ctx.Err() != nil) {
			return backoff.Permanent(err)
		}
		return err
	}, r.p.Waits(ctx))
}

func (r *retry) Put(ctx context.Context, key string, body ...[]byte) error {
	return r.do(ctx, func() error { return r.s.Put(ctx, key, body...) })
}

func (r *retry) Get(ctx context.Context, key string, off, n int64) (b []byte, err error) {
	err = r.do(ctx, func() error { b, err = r.s.Get(ctx, key, off, n); return err })
	return b, err
}

func (r *retry) Stat(ctx context.Context, key string) (i Info, err error) {
	err = r.do(ctx, func() error { i, err = r.s.Stat(ctx, key); return err })
	return i, err
}

func (r *retry) Delete(ctx context.Context, key string) error {
	return r.do(ctx, func() error { return r.s.Delete(ctx, key) })
}

func (r *retry) Free(ctx context.Context) (int64, bool) { return r.s.Free(ctx) }

// List counts the weather anew with each object: a long listing may meet much of it.
func (r *retry) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		last, waits := "", r.p.Waits(ctx)
		for {
			more, err := r.list(ctx, prefix, &last, func(i Info) bool { waits.Reset(); return yield(i, nil) })
			if !more {
				return
			}
			wait := waits.NextBackOff()
			if Permanent(err) || ctx.Err() != nil || wait == backoff.Stop {
				yield(Info{}, err)
				return
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

// list shows what comes after last. It says whether there is more to come, if only an error.
func (r *retry) list(ctx context.Context, prefix string, last *string, show func(Info) bool) (more bool, err error) {
	for i, err := range r.s.List(ctx, prefix) {
		if err != nil {
			return true, err
		}
		if i.Key <= *last {
			continue
		}
		*last = i.Key
		if !show(i) {
			return false, nil
		}
	}
	return false, nil
}
