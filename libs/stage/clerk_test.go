package stage_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

var (
	leased = topics.Topic[words]{Spec: topics.Spec{Name: "jobs.leased"}}
	open   = topics.Topic[words]{Spec: topics.Spec{Name: "jobs.open", Kind: topics.Table}}
)

func lease(name, phase string) topics.Event { return say(leased, name, phase) }

// clerk owns a table of open jobs.
type clerk struct {
	open map[string]string
	at   *stage.Room
}

var late atomic.Int32 // holds shown as overdue

var clerking = stage.Define("clerk", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
	return func(*stage.Room) (*clerk, error) { return &clerk{open: map[string]string{}}, nil }, nil
},
	stage.Own(open, func(c *clerk, key []byte, j words) {
		if delete(c.open, string(key)); j != nil {
			c.open[string(key)] = j.Value
		}
	}),
	stage.On(leased, func(c *clerk, in *stage.In, j words) error {
		switch name := string(in.Key); j.Value {
		case "bad":
			return stage.Refuse(fmt.Errorf("job %s is bad", name))
		case "held":
			in.Hold()
		case "end":
			in.Emit(open.Gone(in.Key))
		case "next": // only a recalled row can be moved on
			if was, ok := c.open[name]; ok {
				in.Emit(say(open, name, was+"+"))
			}
		default:
			in.Emit(say(open, name, j.Value))
		}
		return nil
	}),
	stage.Overdue(time.Minute, func(_ *clerk, h *stage.Hold) { late.Add(1); h.Release() }),
)

func TestOwnTableIsRecalledOnTakeover(t *testing.T) {
	stagetest.Run(t, 0, clerking, 2, func(b *stagetest.Bench) {
		m := b.Join(0)
		b.Send(lease("a", "one"), lease("b", "one"), lease("b", "end"))
		b.Settled()
		m.Crash()
		b.Send(lease("a", "next"), lease("b", "next"))
		b.Join(0)
		if !b.Settled() {
			b.T.Fatal("not settled")
		}
		if rows := stagetest.Rows(b, open); len(rows) != 1 || rows["a"].GetValue() != "one+" {
			b.T.Errorf("rows: %v", rows)
		}
	})
}

// What no retry cures is put aside with the reason, what is held too long is
// shown, and a gap in the log is counted and passed.
func TestRefusedLateAndLost(t *testing.T) {
	late.Store(0)
	stagetest.Run(t, 0, clerking, 1, func(b *stagetest.Bench) {
		m := b.Join(0)
		b.Send(lease("a", "bad"), lease("a", "held"), topics.Event{Topic: leased.Spec, Key: []byte("a"), Value: []byte{0xff}, Part: -1}, lease("a", "one"))
		if !b.Settled() {
			b.T.Fatal("not settled")
		}
		got := stagetest.ReadRaw(b, leased.Refused())
		if len(got) != 2 || got[0].Headers["why"] != "job a is bad" || got[0].Headers["stage"] != "clerk" ||
			got[0].Headers["input"] != "test-1.jobs.leased/0@0" || !strings.Contains(got[1].Headers["why"], "decode") || late.Load() != 1 {
			b.T.Errorf("refused %v, late %d", got, late.Load())
		}
		m.Leave()
		b.Send(lease("b", "one"), lease("c", "one"))
		b.Cluster.DeleteRecords(leased.In(stagetest.Region), 0, 5)
		b.Join(0)
		if !b.Settled() || b.Count(stage.Lost) != 1 || b.Notes(stage.Lost)[0].Count != 1 {
			b.Dump(20)
			b.T.Errorf("lost: %+v", b.Notes(stage.Lost))
		}
	})
}

// A row that does not decode may be one that forbids something: the room must
// not work without it. A newer row of its key is the cure.
func TestABadRowStopsTheRoom(t *testing.T) {
	stagetest.Run(t, 0, clerking, 1, func(b *stagetest.Bench) {
		torn := topics.Event{Topic: open.Spec, Key: []byte("b"), Value: []byte{0xff}, Part: -1}
		b.Send(torn)
		b.Join(0)
		b.Send(lease("a", "one"))
		time.Sleep(time.Minute)
		if n := b.Count(stage.Failed); n < 3 || b.Count(stage.Done) > 0 {
			b.T.Fatalf("%d failures, %d inputs done", n, b.Count(stage.Done))
		}
		if err := b.Notes(stage.Failed)[0].Err; !strings.Contains(err.Error(), `jobs.open/0@0, key "b"`) {
			b.T.Errorf("told: %v", err)
		}
		b.Send(open.Gone([]byte("b")))
		if !b.Settled() {
			b.T.Fatal("not settled after the cure")
		}
		b.Send(torn, open.Gone([]byte("b"))) // in a room that is open
		b.Send(lease("a", "two"))
		if !b.Settled() {
			b.T.Fatal("not settled after the second cure")
		}
	})
}

// A stage may have a table and no stream: its room lives for its beats.
func TestARoomWithoutStreams(t *testing.T) {
	var beats atomic.Int32
	s := stage.Define("keeper", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
		return func(*stage.Room) (*clerk, error) { return &clerk{open: map[string]string{}}, nil }, nil
	},
		stage.Recall(open, func(c *clerk, key []byte, j words) { c.open[string(key)] = j.GetValue() }),
		stage.Every(time.Minute, func(c *clerk, _ *stage.In) error {
			if c.open["a"] == "one" {
				beats.Add(1)
			}
			return nil
		}))
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Send(say(open, "a", "one"))
		b.Join(0)
		time.Sleep(10*time.Minute + 10*time.Second)
		if n := beats.Load(); n != 11 {
			b.Dump(9)
			b.T.Errorf("%d beats", n)
		}
	})
}
