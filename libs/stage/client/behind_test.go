package client

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// A stage that never committed is behind by all there is; else by what lies beyond
// its commits, and the oldest of that tells since when.
func TestBehind(t *testing.T) {
	cl := open(t)
	began := time.Now().Truncate(time.Second) // and not before: a record that is old when it is sent has timed out
	add := func(s topics.Spec, part int32, minute int) {
		t.Helper()
		rec := &kgo.Record{Topic: s.In("local"), Partition: part, Value: []byte("x"), Timestamp: began.Add(time.Duration(minute) * time.Minute)}
		if err := cl.cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(records int64, minute int) {
		t.Helper()
		b, err := cl.Behind(t.Context(), "recorder", topics.PlacesFiled.Spec, topics.ChunksCut.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if b.Records != records || records > 0 && !b.Since.Equal(began.Add(time.Duration(minute)*time.Minute)) || records == 0 && !b.Since.IsZero() {
			t.Errorf("behind by %d records since %v, want %d since minute %d", b.Records, b.Since, records, minute)
		}
	}
	commit := func(s topics.Spec, part int32, at int64) {
		t.Helper()
		offsets := kadm.Offsets{}
		offsets.AddOffset(s.In("local"), part, at, -1)
		if err := kadm.NewClient(cl.cl).CommitAllOffsets(t.Context(), "local.recorder", offsets); err != nil {
			t.Fatal(err)
		}
	}
	wants(0, 0)
	add(topics.PlacesFiled.Spec, 0, 5)
	add(topics.PlacesFiled.Spec, 0, 6)
	add(topics.PlacesFiled.Spec, 3, 4)
	add(topics.ChunksCut.Spec, 1, 7)
	wants(4, 4)
	commit(topics.PlacesFiled.Spec, 3, 1)
	wants(3, 5)
	commit(topics.PlacesFiled.Spec, 0, 1)
	wants(2, 6)
	commit(topics.PlacesFiled.Spec, 0, 2)
	wants(1, 7)
	commit(topics.ChunksCut.Spec, 1, 1)
	wants(0, 0)
}
