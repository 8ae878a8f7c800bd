package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// says answers each put of a pack with an error, while it has one.
type says struct {
	blob.Store
	err   atomic.Pointer[error]
	times atomic.Int32
}

func (s *says) say(err error) { s.err.Store(&err) }

func (s *says) Put(ctx context.Context, key string, body ...[]byte) error {
	if err := s.err.Load(); err != nil && *err != nil && strings.HasPrefix(key, packsDir) {
		s.times.Add(1)
		return fmt.Errorf("put %s: %w", key, *err)
	}
	return s.Store.Put(ctx, key, body...)
}

func sayingRig(t *testing.T) (*rig, *says) {
	r := newRig(t, 2, 2, 1)
	s := &says{Store: r.stores[3]}
	r.targets[3].Store = s
	r.open()
	return r, s
}

// A store that refuses us is left alone at the first word: five more would be
// five more lines in somebody's audit log.
func TestDeniedTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := sayingRig(t)
		s.say(fmt.Errorf("%w: AccessDenied", blob.ErrDenied))
		w := r.writer(nil)
		for range 3 {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			<-landed.Done()
		}
		if turn := w.Turns()[3]; s.times.Load() != 1 || turn.Up || !strings.Contains(turn.Why, "AccessDenied") {
			t.Errorf("asked %d times: %+v", s.times.Load(), turn)
		}
	})
}

// A store that is busy works: it is asked again, not left alone, unless that is
// all that it says for half a minute.
func TestBusyTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := sayingRig(t)
		w := r.writer(nil)
		s.say(blob.ErrBusy)
		for range 2 * breakerFailures {
			landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			time.Sleep(100 * time.Millisecond)
			_ = landed
		}
		time.Sleep(time.Second)
		if s.times.Load() < 2*breakerFailures || !w.Turns()[3].Up {
			t.Fatalf("busy %d times: %+v", s.times.Load(), w.Turns()[3])
		}
		landed, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
		r.must(err)
		s.say(nil)
		if <-landed.Done(); landed.Redundancy() != 4 {
			t.Errorf("redundancy %d, after the store was busy", landed.Redundancy())
		}
		s.say(blob.ErrBusy)
		for range 40 {
			_, err := w.Pack(t.Context(), NewPackID(1), false, noise(1, 100))
			r.must(err)
			time.Sleep(time.Second)
		}
		if turn := w.Turns()[3]; turn.Up {
			t.Errorf("busy for 40 s, and %+v", turn)
		}
	})
}

// What lies in a shard's place and is not the shard does not count as one, and is
// no reason for the pack to wait: until no quorum can be had.
func TestOtherObjectInAShardsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 2, 1)
		w := r.writer(nil)
		data := noise(1, 100)
		for strangers := 1; strangers <= 2; strangers++ {
			id := NewPackID(1)
			for n := range strangers {
				r.must(r.stores[n].Put(t.Context(), ShardKey(id, false, uint8(n), 0), []byte("torn")))
			}
			landed, err := w.Pack(t.Context(), id, false, data)
			if strangers == 2 { // of 4, and 3 are needed
				if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "target t") {
					t.Errorf("two of four shards are others: %v", err)
				}
				continue
			}
			r.must(err)
			if <-landed.Done(); landed.Redundancy() != 3 || !w.Turns()[0].Up {
				t.Errorf("redundancy %d with a torn shard on one target of 4: %+v", landed.Redundancy(), w.Turns()[0])
			}
		}
	})
}
