package client

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/topics"
)

func open(t *testing.T) *Client {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := Open("local", kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if _, err := cl.Ensure(t.Context(), OneMachine); err != nil {
		t.Fatal(err)
	}
	return cl
}

// between calls do once, when the broker has answered so many questions for offsets.
type between struct {
	after int32
	asked atomic.Int32
	do    func()
}

func (b *between) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	if kmsg.Key(key) == kmsg.ListOffsets && b.asked.Add(1) == b.after {
		b.do()
	}
}

// A record that comes while a reader looks where to begin must not be passed over:
// a waiter would wait for ever. It comes after each of the reader's questions in
// turn, as the first of its age, which is when the answers contradict each other.
func TestNoRecordIsPassedOver(t *testing.T) {
	const questions = 3 // the end; the first of an age; and, as there is none, the end again
	for n := range int32(questions) {
		t.Run(fmt.Sprint("after question ", n+1), func(t *testing.T) {
			b := &between{after: n + 1}
			sender := open(t)
			cl, err := Open("local", append(sender.opts, kgo.WithHooks(b))...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			e := topics.BackupsCompleted.Event([]byte("job"), []byte("x"), nil)
			b.do = func() {
				if err := sender.Publish(ctx, e); err != nil {
					t.Error(err)
				}
			}
			for _, err := range cl.Follow(ctx, topics.BackupsCompleted.Spec, time.Hour) {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the record was passed over; %d questions were asked", b.asked.Load())
		})
	}
}

func TestReadEndsWhereTheLogDoes(t *testing.T) {
	cl := open(t)
	for i := range 25 {
		if err := cl.Publish(t.Context(), topics.RestoresCompleted.Event(fmt.Append(nil, i), []byte("x"), map[string]string{"h": "v"})); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for rec, err := range cl.Read(t.Context(), topics.RestoresCompleted.Spec, 0) {
		if err != nil || rec.Headers["h"] != "v" {
			t.Fatal(rec, err)
		}
		n++
	}
	if n != 25 {
		t.Errorf("read %d of 25", n)
	}
	for range cl.Read(t.Context(), topics.RestoresRequested.Spec, 0) {
		t.Error("an empty topic has a record")
	}
	made, err := cl.Ensure(t.Context(), OneMachine)
	if err != nil || len(made) != 0 {
		t.Errorf("made again: %v, %v", made, err)
	}
	if _, err := cl.Ensure(t.Context(), Cluster); err == nil {
		t.Error("another partition count was taken")
	}
}

// A log may end in what is no record: a transaction's marker here, rows that were
// compacted away on real brokers. Who reads it as it stands must come back.
func TestReadEndsWhereTheLogIsHollow(t *testing.T) {
	sender := open(t)
	tx, err := kgo.NewClient(append(sender.opts, kgo.TransactionalID("tx"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(ctx, &kgo.Record{Topic: topics.BackupsCompleted.In("local"), Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range sender.Read(ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("read %d records of 1", n)
	}
}
