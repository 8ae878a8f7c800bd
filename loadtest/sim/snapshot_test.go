//go:build synctests

package sim

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// snapshot is a state as one process reads it.
type snapshot struct {
	d     desk
	st    *state
	files []source.File
}

func (d desk) snapshot(st *state) *snapshot {
	s := &snapshot{d: d, st: st}
	for _, key := range slices.Sorted(maps.Keys(st.files)) {
		f := source.File{Key: key, Name: key, Kind: st.files[key].kind, Size: st.files[key].size}
		if d.tracks {
			f.ChangeID = st.id
		}
		s.files = append(s.files, f)
	}
	return s
}

func (s *snapshot) ID() string           { return s.st.id }
func (s *snapshot) Files() []source.File { return s.files }
func (s *snapshot) Warnings() []string   { return nil }
func (s *snapshot) Close() error         { return nil }

// Changed compares with the state of that change id, unit by unit.
func (s *snapshot) Changed(ctx context.Context, f source.File, since string) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		now, before := s.st.files[f.Key], disk{}
		if since != "" {
			old := s.d.state(since)
			if old == nil || !s.d.tracks {
				yield(source.Range{}, fmt.Errorf("change id %q: %w", since, source.ErrUntracked))
				return
			}
			before = old.files[f.Key]
		}
		if _, err := s.d.call(ctx, "changes of "+f.Key); err != nil {
			yield(source.Range{}, err)
			return
		}
		for i, n := range now.units {
			was := uint64(0)
			if i < len(before.units) {
				was = before.units[i]
			}
			off := int64(i) * unit
			if n != was && !yield(source.Range{Off: off, Len: min(unit, now.size-off)}, nil) {
				return
			}
		}
	}
}

func (s *snapshot) Check(ctx context.Context) (source.Worth, error) {
	if _, err := s.d.call(ctx, "check"); err != nil {
		return source.Worth{}, err
	}
	return source.Worth{Level: schemas.Consistency_CONSISTENCY_CRASH}, nil
}

func (s *snapshot) Open(_ context.Context, f source.File, from int64) (source.Reader, error) {
	d, ok := s.st.files[f.Key]
	if !ok {
		return nil, fmt.Errorf("file %q: %w", f.Key, source.ErrGone)
	}
	return &reader{s: s, d: d, at: from}, nil
}

// reader is a stream: it goes on only, and ends with its snapshot.
type reader struct {
	s  *snapshot
	d  disk
	at int64
}

func (r *reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if _, err := r.s.d.call(ctx, "read"); err != nil {
		return err
	}
	if off < r.at || off+int64(len(p)) > r.d.size {
		return source.Permanent(fmt.Errorf("read of %d bytes at %d, after %d of %d", len(p), off, r.at, r.d.size))
	}
	r.d.readAt(p, off)
	r.at = off + int64(len(p))
	return nil
}

func (r *reader) Close() error { return nil }
