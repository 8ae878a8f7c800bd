package blob

import (
	"context"
	"iter"
)

// Limit is s with at most n calls at a time; the others wait, or leave with
// their context. A listing counts only while it looks for the next object, so
// that its reader may call the same store. n must be 1 or more.
func Limit(s Store, n int) Store { return &limit{s, make(chan struct{}, n)} }

type limit struct {
	s     Store
	slots chan struct{}
}

func (l *limit) enter(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *limit) leave() { <-l.slots }

func (l *limit) Put(ctx context.Context, key string, body ...[]byte) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	return l.s.Put(ctx, key, body...)
}

func (l *limit) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	return l.s.Get(ctx, key, off, n)
}

func (l *limit) Stat(ctx context.Context, key string) (Info, error) {
	if err := l.enter(ctx); err != nil {
		return Info{}, err
	}
	defer l.leave()
	return l.s.Stat(ctx, key)
}

func (l *limit) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		next, stop := iter.Pull2(l.s.List(ctx, prefix))
		defer stop()
		for {
			if err := l.enter(ctx); err != nil {
				yield(Info{}, err)
				return
			}
			i, err, ok := next()
			l.leave()
			if !ok || !yield(i, err) || err != nil {
				return
			}
		}
	}
}

func (l *limit) Delete(ctx context.Context, key string) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	return l.s.Delete(ctx, key)
}

func (l *limit) Free(ctx context.Context) (int64, bool) { return l.s.Free(ctx) }
