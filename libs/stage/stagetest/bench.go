// Package stagetest runs one stage, with any number of members, on a whole
// Kafka that lives in memory and in virtual time. Faults come from a seed; a
// seed replays the verdict, not the trace, because goroutine order is not ours.
package stagetest

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

// Region is where the bench lives.
const Region = "test-1"

// Bench is one stage on one broker.
type Bench struct {
	T       *testing.T
	Rand    *rand.Rand // the test's own; the faults draw from others
	Cluster *kfake.Cluster
	Stage   stage.Stage
	// Log is lent to the members that join from now on. It is silent until set.
	Log *slog.Logger
	// Watch is told what the bench is told, of members that join from now on. May be nil.
	Watch stage.Watch
	// Regions are lent to members that join from now on. May be nil: its own alone.
	Regions *stage.Regions
	// Bugs says that handlers may panic; else one that does fails the test.
	Bugs bool
	// Skew is how far the clock of members that join from now on is from the bench's.
	Skew time.Duration

	seed    uint64
	parts   int32
	net     kfake.VirtualNetwork
	cl      *kgo.Client
	mu      sync.Mutex
	notes   []stage.Note
	up      []*Member
	born    int
	faulty  sync.Once
	weather atomic.Uint64 // bits of the share
}

// Run gives f a bench whose topics have parts partitions each, wide or narrow:
// those that the stage names, their .refused, and backups.faulted. At
// the end every member leaves in good order. All that f does is in virtual
// time: a sleep costs nothing.
func Run(t *testing.T, seed uint64, s stage.Stage, parts int32, f func(*Bench)) {
	t.Helper()
	if !tagged {
		t.Fatal("stagetest needs `go test -tags synctests`: without it franz-go's mutexes stop virtual time, and the test would hang")
	}
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Minute) // closed clients may still sleep in a slow wire
		b := &Bench{T: t, Stage: s, seed: seed, parts: parts, Rand: rand.New(rand.NewPCG(seed, 1)), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		many, single := topicsOf(s, Region)
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(b.net.Listen),
			kfake.SeedTopics(parts, many...), kfake.SeedTopics(1, single...))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b.Cluster = c
		b.cl = b.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer b.cl.Close()
		defer func() { // also when f has failed: a bubble must end empty
			for len(b.up) > 0 {
				b.up[0].Leave()
			}
		}()
		f(b)
	})
}

// topicsOf are the physical names of all that s may touch in a region.
func topicsOf(s stage.Stage, region string) (many, single []string) {
	all := append(slices.Concat(s.Streams, s.Tables, s.Wholes, s.Writes), topics.BackupsFaulted.Spec, topics.InputsTroubled.Spec)
	for _, t := range slices.Concat(s.Streams, s.Tables, s.Wholes) {
		all = append(all, t.Refused())
	}
	for _, t := range all {
		if t.Width == topics.Single {
			single = append(single, t.In(region))
		} else {
			many = append(many, t.In(region))
		}
	}
	slices.Sort(many)
	slices.Sort(single)
	return slices.Compact(many), slices.Compact(single)
}

func (b *Bench) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append(b.Kafka(b.Dial), opts...)...)
	if err != nil {
		b.T.Fatal(err)
	}
	return cl
}

// Sent is where an event came to lie.
type Sent struct {
	Part   int32
	Offset int64
}

// Send puts events on the bus and says where they are.
func (b *Bench) Send(events ...topics.Event) (sent []Sent) {
	b.T.Helper()
	var recs []*kgo.Record
	for _, e := range events {
		rec := &kgo.Record{Topic: e.Topic.In(cmp.Or(e.Region, Region)), Key: e.Key, Value: e.Value, Partition: e.Part}
		if e.Part < 0 {
			rec.Partition = topics.KeyPart(e.Key, int32(len(b.Cluster.PartitionInfos(rec.Topic))))
		}
		for k, v := range e.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		recs = append(recs, rec)
	}
	for left := recs; len(left) > 0; {
		var again []*kgo.Record
		for _, got := range b.cl.ProduceSync(context.Background(), left...) {
			if got.Err != nil { // the weather hits us too
				again = append(again, &kgo.Record{Topic: got.Record.Topic, Key: got.Record.Key, Value: got.Record.Value,
					Headers: got.Record.Headers, Partition: got.Record.Partition})
				recs[slices.Index(recs, got.Record)] = again[len(again)-1]
			}
		}
		if left = again; len(left) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, rec := range recs {
		sent = append(sent, Sent{rec.Partition, rec.Offset})
	}
	return sent
}
