package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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

// A record that comes while a reader looks where to begin must not be passed
// over: a waiter would wait for ever. Many readers begin around one record each.
func TestNoRecordIsPassedOver(t *testing.T) {
	cl := open(t)
	for i := range 60 {
		key := fmt.Sprint("job ", i)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		heard := make(chan bool, 1)
		go func() {
			found := false
			for rec, err := range cl.Follow(ctx, topics.BackupsCompleted.Spec, time.Hour) {
				if err == nil && string(rec.Key) == key {
					found = true
					break
				}
			}
			heard <- found
		}()
		if err := cl.Publish(ctx, topics.BackupsCompleted.Event([]byte(key), []byte("x"), nil)); err != nil {
			t.Fatal(err)
		}
		if !<-heard {
			t.Fatalf("%s was passed over", key)
		}
		stop()
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
