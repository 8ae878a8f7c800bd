package stage_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

var (
	turned = topics.Topic[words]{Spec: topics.Spec{Name: "epochs.passed", Kind: topics.Table, Width: topics.Single}}
	law    = topics.Raw{Spec: topics.Spec{Name: "laws.declared", Kind: topics.Public, Width: topics.Narrow}}
)

// judge needs all laws, and the order of turns, before it judges anything.
type judge struct {
	laws  map[string]string
	turns []string
	rows  map[string]string
}

// judged is what each input was judged by.
type judged struct {
	mu sync.Mutex
	by []string
}

// taken returns it, and begins anew.
func (j *judged) taken() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	by := j.by
	j.by = nil
	return by
}

func judging(out *judged) stage.Stage {
	return stage.Define("judge", func(stage.Env) (func(*stage.Room) (*judge, error), error) {
		return func(*stage.Room) (*judge, error) {
			return &judge{laws: map[string]string{}, rows: map[string]string{}}, nil
		}, nil
	},
		stage.WholeRaw(law, func(j *judge, r stage.Raw) {
			if delete(j.laws, string(r.Key)); r.Value != nil {
				j.laws[string(r.Key)] = string(r.Value) + r.Headers["h"]
			}
		}),
		stage.Whole(turned, func(j *judge, key []byte, w words) { j.turns = append(j.turns, w.GetValue()) }),
		stage.Whole(open, func(j *judge, key []byte, w words) {
			if delete(j.rows, string(key)); w != nil {
				j.rows[string(key)] = w.Value
			}
		}),
		stage.On(leased, func(j *judge, in *stage.In, w words) error {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.by = append(out.by, fmt.Sprintf("%d laws, a %s; %v; %v", len(j.laws), j.laws["a"], j.turns, slices.Sorted(maps.Values(j.rows))))
			return nil
		}))
}

// Goal: a room has seen a whole table, of all partitions, before its first
// event, and what comes later; of an order of things each record, of a table
// the newest row. Method: rooms that open late, on every number.
func TestWholeTablesComeFirst(t *testing.T) {
	out := &judged{}
	stagetest.Run(t, 0, judging(out), 4, func(b *stagetest.Bench) {
		declare := func(key, value string) { b.Send(law.Event([]byte(key), []byte(value), map[string]string{"h": "!"})) }
		for i := range 9 {
			declare(fmt.Sprint("law", i), "x")
			b.Send(say(open, fmt.Sprint(i), fmt.Sprint("row", i)))
			b.Send(open.Gone([]byte(fmt.Sprint(i - 3))))
		}
		declare("a", "old")
		declare("a", "new")
		b.Send(law.Event([]byte("law0"), nil, nil))
		b.Send(say(turned, "opened/1", "first"), say(turned, "opened/1", "rival"))
		for i := range 20 {
			b.Send(lease(fmt.Sprint(i), "x"))
		}
		b.Join(0)
		if !b.Settled() {
			b.Dump(20)
			b.T.Fatal("not settled")
		}
		for _, by := range out.taken() {
			if by != "9 laws, a new!; [first rival]; [row6 row7 row8]" {
				b.T.Fatalf("judged by %s", by)
			}
		}
		b.Send(say(turned, "opened/2", "second"), open.Gone([]byte("6")))
		time.Sleep(time.Second)
		b.Join(0) // takes rooms over: they begin with the past
		time.Sleep(20 * time.Second)
		for i := range 20 {
			b.Send(lease(fmt.Sprint(i), "x"))
		}
		b.Settled()
		again := out.taken()
		for _, by := range again {
			if by != "9 laws, a new!; [first rival second]; [row7 row8]" {
				b.T.Fatalf("then judged by %s", by)
			}
		}
		if len(again) < 20 {
			b.T.Errorf("%d judged", len(again))
		}
	})
}

func TestABadRowOfAWholeTableStopsTheRooms(t *testing.T) {
	out := &judged{}
	stagetest.Run(t, 0, judging(out), 2, func(b *stagetest.Bench) {
		b.Send(topics.Event{Topic: turned.Spec, Key: []byte("opened/1"), Value: []byte{0xff}, Part: -1}, lease("a", "x"))
		b.Join(0)
		time.Sleep(time.Minute)
		if by := out.taken(); len(by) > 0 || b.Count(stage.Failed) < 2 {
			b.T.Fatalf("judged %v, %d failures", by, b.Count(stage.Failed))
		}
		b.Send(say(turned, "opened/1", "first"))
		if settled, by := b.Settled(), out.taken(); !settled || len(by) != 1 {
			b.T.Errorf("judged %v", by)
		}
	})
}

// indexer keeps its rows over its own end, as the deduper's Pebble does.
type indexer struct {
	kept *int64
	seen *[]int64
}

// A room that remembers says from where it wants its table; rows far below are
// not even fetched.
func TestARoomThatRemembersSkipsRows(t *testing.T) {
	var kept int64
	var seen []int64
	var logs []stage.Log
	s := stage.Define("indexer", func(stage.Env) (func(*stage.Room) (indexer, error), error) {
		return func(*stage.Room) (indexer, error) { return indexer{&kept, &seen}, nil }, nil
	},
		stage.RecallAt(open, func(x indexer, l stage.Log) (int64, error) { logs = append(logs, l); return *x.kept, nil },
			func(x indexer, _ []byte, _ words, at int64) { *x.seen = append(*x.seen, at); *x.kept = at + 1 }),
		stage.On(leased, func(indexer, *stage.In, words) error { return nil }))
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		var rows []topics.Event
		for i := range 5000 {
			rows = append(rows, say(open, fmt.Sprint(i), strings.Repeat("x", 1000)))
		}
		b.Send(rows...)
		b.Send(lease("a", "x"))
		m := b.Join(0)
		b.Settled()
		m.Leave()
		b.Cluster.DeleteRecords(open.In(stagetest.Region), 0, 10)
		b.Join(0)
		b.Send(rows[0], lease("b", "x"))
		if !b.Settled() {
			b.Dump(20)
			b.T.Fatal("not settled")
		}
		if want := int64(len(seen)); want != 5001 || seen[want-1] != 5000 {
			b.T.Errorf("saw %d rows, the last %d", len(seen), seen[len(seen)-1])
		}
		if last := logs[len(logs)-1]; last.Start != 10 || last.End < 5000 || last.ID == [16]byte{} {
			b.T.Errorf("logs: %+v", logs)
		}
	})
}

// A broker that refuses a producer id for good (its disk is full) is asked again
// by a new client.
func TestASpoiledClientIsReplaced(t *testing.T) {
	stagetest.Run(t, 0, clerking, 2, func(b *stagetest.Bench) {
		b.Send(lease("a", "one")) // while the bench's own client has an id
		b.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.UnknownServerError, Count: 2})
		b.Join(0)
		if !b.Settled() || b.Count(stage.Renewed) != 2 {
			b.Dump(30)
			b.T.Errorf("renewed %d times", b.Count(stage.Renewed))
		}
	})
}
