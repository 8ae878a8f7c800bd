package stagetest

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/topics"
)

// Records returns all that the topic of that physical name holds now, each
// partition in its order.
func (b *Bench) Records(name string) (recs []*kgo.Record) {
	b.T.Helper()
	var left int64
	from := map[int32]kgo.Offset{}
	for _, p := range b.Cluster.PartitionInfos(name) {
		from[p.Partition] = kgo.NewOffset().At(p.LogStartOffset)
		left += p.HighWatermark - p.LogStartOffset
	}
	cl := b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}))
	defer cl.Close()
	for int64(len(recs)) < left {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		f := cl.PollFetches(ctx)
		cancel()
		if f.NumRecords() == 0 {
			return recs // a hollow log
		}
		recs = append(recs, f.Records()...)
	}
	return recs
}

// Read returns all messages that t holds now; of a table without the tombstones.
func Read[T proto.Message](b *Bench, t topics.Topic[T]) (got []T) {
	b.T.Helper()
	return ReadIn(b, Region, t)
}

// ReadIn is Read of another region's topic.
func ReadIn[T proto.Message](b *Bench, region string, t topics.Topic[T]) (got []T) {
	b.T.Helper()
	for _, rec := range b.Records(t.In(region)) {
		if rec.Value == nil {
			continue
		}
		v, err := t.Decode(rec.Value)
		if err != nil {
			b.T.Fatal(err)
		}
		got = append(got, v)
	}
	return got
}

// Rows returns the newest row of each key of t, as text; a tombstone's is gone.
func Rows[T proto.Message](b *Bench, t topics.Topic[T]) map[string]T {
	b.T.Helper()
	rows := map[string]T{}
	for _, rec := range b.Records(t.In(Region)) {
		if rec.Value == nil {
			delete(rows, string(rec.Key))
			continue
		}
		v, err := t.Decode(rec.Value)
		if err != nil {
			b.T.Fatal(err)
		}
		rows[string(rec.Key)] = v
	}
	return rows
}

// Raw is a record of a topic that is not protobuf.
type Raw struct {
	Key, Value []byte
	Headers    map[string]string
}

// ReadRaw returns all records of s, as they are. s may be a topic's Refused().
func ReadRaw(b *Bench, s topics.Spec) (got []Raw) {
	b.T.Helper()
	for _, rec := range b.Records(s.In(Region)) {
		raw := Raw{rec.Key, rec.Value, map[string]string{}}
		for _, h := range rec.Headers {
			raw.Headers[h.Key] = string(h.Value)
		}
		got = append(got, raw)
	}
	return got
}

// Committed returns the stage's committed offset per partition of t.
func (b *Bench) Committed(t topics.Spec) map[int32]int64 {
	b.T.Helper()
	got, err := kadm.NewClient(b.cl).FetchOffsets(context.Background(), Region+"."+b.Stage.Name)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		b.T.Fatal(err)
	}
	at := map[int32]int64{}
	for p, o := range got[t.In(Region)] {
		at[p] = o.At
	}
	return at
}

// Rewind makes the stage's next member read all of t again. None may be in the group.
func (b *Bench) Rewind(t topics.Spec) {
	b.T.Helper()
	var zero kadm.Offsets
	for p := range b.Cluster.PartitionInfos(t.In(Region)) {
		zero.AddOffset(t.In(Region), int32(p), 0, -1)
	}
	if err := kadm.NewClient(b.cl).CommitAllOffsets(context.Background(), Region+"."+b.Stage.Name, zero); err != nil {
		b.T.Fatal(err)
	}
}

// Settled waits until the stage has committed all of the named streams, or, if
// none is named, of all that it reads, for at most ten minutes of virtual time.
func (b *Bench) Settled(ts ...topics.Spec) bool {
	b.T.Helper()
	if len(ts) == 0 {
		ts = b.Stage.Streams
	}
	for sec := range 600 {
		time.Sleep(time.Second)
		ok := true
		for _, t := range ts {
			at := b.Committed(t)
			for _, p := range b.Cluster.PartitionInfos(t.In(Region)) {
				ok = ok && max(at[p.Partition], 0) >= p.HighWatermark
			}
		}
		if ok {
			return true
		}
		if sec%60 == 59 {
			b.reap()
		}
	}
	return false
}
