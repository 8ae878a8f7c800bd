package stage_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

// sink takes each block once, by its bounds, as ClickHouse does by token.
type sink struct {
	mu     sync.Mutex
	blocks map[string]string // bounds to the records' values
	rows   map[string]int    // each record's copies
	gaps   []stage.Gap
	wrong  string
}

func (s *sink) take(x *stage.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, body := fmt.Sprintf("%s/%d/%d-%d", x.Topic, x.Part, x.First, x.Last), ""
	for _, r := range x.Records {
		body += string(r.Value) + " "
	}
	if was, ok := s.blocks[token]; ok {
		if was != body {
			s.wrong = fmt.Sprintf("block %s held %q and holds %q", token, was, body)
		}
		return
	}
	s.blocks[token] = body
	s.gaps = append(s.gaps, x.Gaps()...)
	for _, r := range x.Records {
		s.rows[fmt.Sprintf("%s/%d@%d", x.Topic, x.Part, r.Offset)]++
	}
}

// recorder writes to a sink; its rooms fail now and then.
type recorder struct {
	*sink
	room *stage.Room
}

func (r recorder) write(x *stage.Block) error {
	time.Sleep(rand.N(300 * time.Millisecond))
	switch rand.N(20) {
	case 0, 1, 2: // lost
		return errWeather
	case 3, 4, 5: // ghost
		r.take(x)
		return errWeather
	case 6:
		r.room.Fail(errWeather)
	case 7:
		r.take(x)
		r.room.Fail(errWeather)
	default:
		r.take(x)
	}
	return nil
}

func recording(s *sink) stage.Stage {
	return stage.Define("recorder", func(stage.Env) (func(*stage.Room) (recorder, error), error) {
		return func(m *stage.Room) (recorder, error) { return recorder{s, m}, nil }, nil
	}, stage.Batch([]topics.Spec{items.Spec, leased.Spec}, stage.Limits{Records: 7, Bytes: 1 << 20, Wait: time.Second}, recorder.write))
}

// Goal: each record is in exactly one block, and a block comes again with its
// bounds unchanged. Method: a sink that knows blocks by their bounds alone, with
// lost and ghost writes, while members come, go, crash and come back as zombies.
func TestABlockComesAgainWithItsBounds(t *testing.T) {
	for seed := range seeds() {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			s := &sink{blocks: map[string]string{}, rows: map[string]int{}}
			stagetest.Run(t, seed, recording(s), 2, func(b *stagetest.Bench) {
				n := 0
				churn(b, func(int) {
					for range 30 {
						n += 2
						b.Send(item(n), lease(fmt.Sprint(n), "x"))
					}
				}, func() {})
				if !b.Settled() {
					b.Dump(20)
					b.T.Fatal("not settled")
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.wrong != "" || len(s.rows) != n {
					b.T.Errorf("%d of %d records; %s", len(s.rows), n, s.wrong)
				}
				for at, copies := range s.rows {
					if copies != 1 {
						b.T.Errorf("%s is there %d times", at, copies)
					}
				}
			})
		})
	}
}

// What has left the log cannot come again: the bounds stay, or the block goes. What
// is gone is a gap of the block that comes, whichever it is.
func TestABlockWhoseRecordsAreGone(t *testing.T) {
	for _, cut := range []int64{3, 5, 6} { // of 0..4 in the block, and 5
		s := &sink{blocks: map[string]string{}, rows: map[string]int{}}
		fail := true
		define := stage.Define("recorder", func(stage.Env) (func(*stage.Room) (*sink, error), error) {
			return func(*stage.Room) (*sink, error) { return s, nil }, nil
		}, stage.Batch([]topics.Spec{items.Spec}, stage.Limits{Records: 5, Bytes: 1 << 20, Wait: time.Second},
			func(s *sink, x *stage.Block) error {
				if fail {
					return errWeather
				}
				s.take(x)
				return nil
			}))
		stagetest.Run(t, 0, define, 1, func(b *stagetest.Bench) {
			for id := range 7 {
				b.Send(item(id))
			}
			m := b.Join(0)
			time.Sleep(10 * time.Second)
			m.Crash()
			b.Cluster.DeleteRecords(items.In(stagetest.Region), 0, cut)
			fail = false
			b.Join(0)
			if !b.Settled() {
				b.Dump(20)
				b.T.Fatal("not settled")
			}
			if _, ok := s.blocks["test-1.items.sent/0/0-4"]; ok != (cut < 5) || int64(len(s.rows)) != 7-cut {
				b.T.Errorf("cut at %d: blocks %v", cut, s.blocks)
			}
			if len(s.gaps) != 1 || s.gaps[0] != (stage.Gap{First: 0, Last: cut - 1}) {
				b.T.Errorf("cut at %d: gaps %v", cut, s.gaps)
			}
		})
	}
}
