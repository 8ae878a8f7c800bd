//go:build synctests

package recorder

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// fetched counts what a member's rooms were handed.
type fetched struct {
	n atomic.Int64
}

func (*fetched) Begin(ctx context.Context, _ stage.Note) context.Context { return ctx }
func (*fetched) End(context.Context, stage.Note)                         {}
func (*fetched) Tell(stage.Note)                                         {}

func (f *fetched) Hooks() []kgo.Hook { return []kgo.Hook{f} }

func (f *fetched) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	if polled {
		f.n.Add(1)
	}
}

// heldMost is what a room may hold of one topic: what its feed buffers, with one
// poll too many, and a block.
const heldMost = 2000 + 2000 + blockRecords

// gaugeOf keeps the last gauge of a name.
type gaugeOf struct {
	mu    sync.Mutex
	value map[string]func() float64
}

func (g *gaugeOf) register(name, _ string, value func() float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.value[name] = value
}

// Goal: a ledger that is down, for an hour or a day, costs a recorder no memory and
// the ledger no row, save those that Kafka keeps no longer, which are counted and
// told; what was missed comes in order. Method: one partition of a log that grows
// beyond what a feed holds, a ledger that fails, and, in some cases, retention
// that takes the log's beginning beyond what was fetched before it.
func TestOutages(t *testing.T) {
	for _, c := range []struct {
		name string
		long time.Duration
		gone int64 // records that retention takes
	}{{"an hour", time.Hour, 0}, {"an hour, and the log was cut", time.Hour, 9000}, {"a day, and the log was cut", 24 * time.Hour, 9000}} {
		if c.long > time.Hour && seeds() <= usualSeeds {
			continue // 20 s: for a night
		}
		t.Run(c.name, func(t *testing.T) {
			down := atomic.Bool{}
			fake := &ledgertest.Fake{Slow: 40 * time.Millisecond, Weather: func() ledgertest.Fault {
				if down.Load() {
					return ledgertest.Lost
				}
				return ledgertest.None
			}}
			g := &gaugeOf{value: map[string]func() float64{}}
			stagetest.Run(t, 1, Stage(Config{}, Deps{Ledger: fake, Gauge: g.register}), 1, func(b *stagetest.Bench) {
				f := &fetched{}
				b.Watch = f
				b.Join(0)
				n := 0
				send := func(many int) {
					var all []topics.Event
					for range many {
						all = append(all, topics.ChunksCut.Event([]byte("k"), &schemas.ChunksCut{}))
					}
					b.Send(all...)
					n += many
				}
				send(100)
				time.Sleep(time.Minute)
				if got := fake.Count("stage_event"); got != n {
					b.T.Fatalf("%d of %d before the outage", got, n)
				}
				down.Store(true)
				const steps = 12
				for range steps {
					send(1000)
					time.Sleep(c.long / steps)
				}
				if held := f.n.Load() - 100; held > heldMost {
					b.T.Errorf("it holds %d records while it waits, want %d at most", held, heldMost)
				}
				behind := g.value["holdfast_ledger_behind_seconds"]
				if got := time.Duration(behind() * float64(time.Second)); got < c.long || got > c.long+time.Minute {
					b.T.Errorf("the ledger is said to be behind by %v after %v", got, c.long)
				}
				if c.gone > 0 {
					b.Cluster.DeleteRecords(topics.ChunksCut.In(stagetest.Region), 0, c.gone)
				}
				down.Store(false)
				if !b.Settled() {
					b.Dump(20)
					b.T.Fatal("not settled")
				}
				if got := behind(); got != 0 {
					b.T.Errorf("the ledger has all, and is said to be behind by %v s", got)
				}
				lost := int64(0)
				for _, note := range b.Notes(stage.Lost) {
					lost += note.Count
				}
				ordered(b.T, fake, n, lost)
				if (lost > 0) != (c.gone > 0) || lost > c.gone {
					b.T.Errorf("%d records were lost", lost)
				}
			})
		})
	}
}

// ordered wants n records in the order of their log, save lost ones, which are gaps.
func ordered(t *testing.T, fake *ledgertest.Fake, n int, lost int64) {
	t.Helper()
	missing, next := map[uint64]uint64{}, uint64(0)
	fake.Each("gap", func(rows ledger.Rows, i int) {
		g := rows.(ledger.Gaps)[i]
		missing[g.Offset] = g.Records
		lost -= int64(g.Records)
		if g.SinceMs == 0 || g.SinceMs >= g.AtMs {
			t.Errorf("a gap from %d to %d", g.SinceMs, g.AtMs)
		}
	})
	if lost != 0 {
		t.Errorf("gaps %v, and %d records more were counted as lost", missing, lost)
	}
	fake.Each("stage_event", func(rows ledger.Rows, i int) {
		if rows.Origin(i).Topic != topics.ChunksCut.Name { // what the outage made the recorder say of itself
			return
		}
		next += missing[next]
		if at := rows.Origin(i).Offset; at != next {
			t.Fatalf("record %d is there, want %d", at, next)
		}
		next++
	})
	if next != uint64(n) {
		t.Errorf("%d records are there, want %d", next, n)
	}
}
