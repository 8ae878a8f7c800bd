package vault

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// silentFor is how long a target that did not answer a read is asked last. Each
// question costs the patience of blob.Brief, 2 s; a restore asks once a pack.
const silentFor = 10 * time.Second

var errSilent = errors.New("did not answer a moment ago; others are asked first")

// heard notes what came of a read of the slot's target.
func (s *slot) heard(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil: // who gave up was the reader
	case err == nil || blob.Permanent(err) || errors.Is(err, errNotConfigured):
		s.silent.Store(0)
	default:
		s.silent.Store(time.Now().UnixNano())
	}
}

// speaks reports whether the target is worth a question, which the caller then
// asks. Of a silent one, one reader each silentFor is told so: the answer it gets
// is for all.
func (s *slot) speaks() bool {
	since := s.silent.Load()
	now := time.Now().UnixNano()
	return since == 0 || now-since >= int64(silentFor) && s.silent.CompareAndSwap(since, now)
}

// order is the shards of an object in the order to ask for them: those of silent
// targets last, when nothing else is left.
func (r *Reader) order() []int {
	var first, last []int
	for n, s := range r.v.slots {
		if s.silent.Load() == 0 {
			first = append(first, n)
		} else {
			last = append(last, n)
		}
	}
	return slices.Concat(first, last)
}
