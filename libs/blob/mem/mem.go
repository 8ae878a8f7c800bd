// Package mem is an object store in memory, for tests. It passes the suite that
// the real ones pass, except that its objects don't outlive the process.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Store is a blob.Store. The zero value is empty and ready.
type Store struct {
	mu      sync.Mutex
	objects map[string][]byte
}

// New returns an empty store.
func New() *Store { return &Store{} }

var _ blob.Store = (*Store)(nil)

func (s *Store) Put(ctx context.Context, key string, body ...[]byte) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.objects[key]; ok {
		if !bytes.Equal(old, bytes.Join(body, nil)) {
			return fmt.Errorf("put %s: %w", key, blob.ErrDiffers)
		}
		return fmt.Errorf("put %s: %w", key, blob.ErrExist)
	}
	if s.objects == nil {
		s.objects = map[string][]byte{}
	}
	s.objects[key] = bytes.Join(body, nil)
	return nil
}

func (s *Store) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.objects[key]
	switch size := int64(len(b)); {
	case !ok:
		return nil, fmt.Errorf("get %s: %w", key, blob.ErrNotExist)
	case off < 0:
		return nil, fmt.Errorf("get %s: offset %d", key, off)
	case off > size || n > size-off:
		return nil, fmt.Errorf("get %s: %d bytes from %d of %d: %w", key, n, off, size, io.ErrUnexpectedEOF)
	case n < 0:
		n = size - off
	}
	return bytes.Clone(b[off : off+n : off+n]), nil
}

func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := check(ctx, "stat", key); err != nil {
		return blob.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.objects[key]
	if !ok {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, blob.ErrNotExist)
	}
	return blob.Info{Key: key, Size: int64(len(b))}, nil
}

// List yields what was there when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckPrefix(prefix); err != nil {
			yield(blob.Info{}, err)
			return
		}
		s.mu.Lock()
		sizes := make(map[string]int64)
		for k, b := range s.objects {
			if strings.HasPrefix(k, prefix) {
				sizes[k] = int64(len(b))
			}
		}
		s.mu.Unlock()
		for _, k := range slices.Sorted(maps.Keys(sizes)) {
			if ctx.Err() != nil {
				yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, context.Cause(ctx)))
				return
			}
			if !yield(blob.Info{Key: k, Size: sizes[k]}, nil) {
				return
			}
		}
	}
}

func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// Free is not known: memory is the machine's.
func (s *Store) Free(context.Context) (int64, bool) { return 0, false }

func check(ctx context.Context, op, key string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", op, key, context.Cause(ctx))
	}
	return blob.CheckKey(key)
}
