package stage_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

// An ask is "chunk/ref"; its key is the chunk.
var (
	asks   = topics.Topic[words]{Spec: topics.Spec{Name: "chunks.asked"}}
	stored = topics.Topic[words]{Spec: topics.Spec{Name: "chunks.had", Kind: topics.Table}}
	fresh  = topics.Topic[words]{Spec: topics.Spec{Name: "chunks.new"}}
	known  = topics.Topic[words]{Spec: topics.Spec{Name: "chunks.old"}}
)

func chunkOf(v words) string { id, _, _ := strings.Cut(v.Value, "/"); return id }

func ask(id, ref int) topics.Event { return say(asks, strconv.Itoa(id), fmt.Sprintf("%d/%d", id, ref)) }

func store(id int) topics.Event { return say(stored, strconv.Itoa(id), strconv.Itoa(id)) }

// deduper answers known for what the table has, sends the first of the rest on
// as fresh, and holds every asker until the table has it.
type deduper struct {
	has     map[string]bool
	waiting map[string][]waiter
}

type waiter struct {
	ask  string
	hold *stage.Hold
}

var deduping = stage.Define("deduper", func(stage.Env) (func(*stage.Room) (*deduper, error), error) {
	return func(*stage.Room) (*deduper, error) {
		return &deduper{map[string]bool{}, map[string][]waiter{}}, nil
	}, nil
},
	stage.Recall(stored, (*deduper).learn),
	stage.On(asks, (*deduper).decide),
	stage.Emits[*deduper](fresh.Spec), stage.Emits[*deduper](known.Spec),
)

func (d *deduper) learn(key []byte, row words) {
	id := string(key)
	d.has[id] = row != nil
	if row == nil {
		return
	}
	for _, w := range d.waiting[id] {
		w.hold.Release(say(known, id, w.ask))
	}
	delete(d.waiting, id)
}

func (d *deduper) decide(in *stage.In, v words) error {
	id := chunkOf(v)
	if d.has[id] {
		in.Emit(say(known, id, v.Value))
		return nil
	}
	if d.waiting[id] == nil {
		in.Emit(say(fresh, id, v.Value))
	}
	d.waiting[id] = append(d.waiting[id], waiter{v.Value, in.Hold()})
	return nil
}

// Goal: recall, waiters and whole rooms. Method: chunks 0-19 were stored long
// ago, 20-39 were stored and then forgotten. While members come, go and crash,
// a storer stores what is fresh, late. Every asker must be answered, nothing
// committed before its answer, and no old chunk may be called fresh.
func TestWaitersAreAnsweredAndTablesRecalled(t *testing.T) {
	eachSeed(t, deduping, 3, func(b *stagetest.Bench) {
		for id := range 40 {
			b.Send(store(id))
		}
		for id := range 20 {
			b.Send(stored.Gone([]byte(strconv.Itoa(20 + id))))
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); storer(ctx, b) }()
		defer func() { stop(); <-done }()

		at, refs := map[string]stagetest.Sent{}, 0
		check := func() {
			committed, answered := b.Committed(asks.Spec), map[string]bool{}
			for _, k := range stagetest.Read(b, known) {
				answered[k.Value] = true
			}
			for ref, s := range at {
				if s.Offset < committed[s.Part] && !answered[ref] {
					b.T.Fatalf("ask %s at %v is committed (%d) and not answered", ref, s, committed[s.Part])
				}
			}
		}
		churn(b, func(int) {
			for range 40 {
				id := b.Rand.IntN(60)
				at[fmt.Sprintf("%d/%d", id, refs)] = b.Send(ask(id, refs))[0]
				refs++
			}
		}, check)
		if !b.Settled(asks.Spec) {
			b.Dump(12)
			b.T.Fatalf("still not committed: %v", b.Committed(asks.Spec))
		}
		check()
		for _, f := range stagetest.Read(b, fresh) {
			if id, _ := strconv.Atoi(chunkOf(f)); id < 20 {
				b.T.Errorf("chunk %d was stored, and is called fresh", id)
			}
		}
	})
}

// storer stores each fresh chunk some seconds later.
func storer(ctx context.Context, b *stagetest.Bench) {
	seen := map[string]bool{}
	for nap(ctx, 3*time.Second) == nil {
		for _, f := range stagetest.Read(b, fresh) {
			if id := chunkOf(f); !seen[id] {
				seen[id] = true
				b.Send(say(stored, id, id))
			}
		}
	}
}

// A table that ends in a transaction's marker has no record below its end.
func TestRecallOfAHollowTail(t *testing.T) {
	stagetest.Run(t, 0, deduping, 2, func(b *stagetest.Bench) {
		tx, err := kgo.NewClient(append(b.Kafka(b.Dial), kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
		if err != nil {
			b.T.Fatal(err)
		}
		defer tx.Close()
		for id := range 8 {
			e := store(id)
			tx.BeginTransaction()
			if err := tx.ProduceSync(context.Background(), &kgo.Record{Topic: e.Topic.In(stagetest.Region), Key: e.Key, Value: e.Value}).FirstErr(); err != nil {
				b.T.Fatal(err)
			}
			if err := tx.EndTransaction(context.Background(), kgo.TryCommit); err != nil {
				b.T.Fatal(err)
			}
			b.Send(ask(id, id))
		}
		b.Join(0)
		if !b.Settled(asks.Spec) || len(stagetest.Read(b, known)) != 8 {
			b.Dump(20)
			b.T.Error("recall hangs")
		}
	})
}

func TestUnequalCountsStopTheStart(t *testing.T) {
	stagetest.Run(t, 0, deduping, 2, func(b *stagetest.Bench) {
		b.Cluster.DeleteTopic(asks.In(stagetest.Region))
		b.Cluster.CreateTopic(asks.In(stagetest.Region), 3, nil)
		err := stage.Run(context.Background(), deduping, stage.Env{Region: stagetest.Region, Kafka: b.Kafka(b.Dial), Log: b.Log})
		if err == nil || !strings.Contains(err.Error(), "equal counts") {
			b.T.Errorf("got %v", err)
		}
	})
}
