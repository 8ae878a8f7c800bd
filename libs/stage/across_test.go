package stage_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/topics"
)

// envoy answers each public law with what it knows of all regions.
type envoy struct {
	rows  map[string]string // region/key
	state map[string]string // of regions
}

const patience = 20 * time.Second

func envoys(out *judged) stage.Stage {
	return stage.Define("envoy", func(stage.Env) (func(*stage.Room) (*envoy, error), error) {
		return func(*stage.Room) (*envoy, error) {
			return &envoy{rows: map[string]string{}, state: map[string]string{}}, nil
		}, nil
	},
		stage.Across(open, patience, func(e *envoy, region string, key []byte, w words) {
			if delete(e.rows, region+"/"+string(key)); w != nil {
				e.rows[region+"/"+string(key)] = w.Value
			}
		}, func(e *envoy, g stage.Region) {
			switch {
			case g.Gone:
				delete(e.state, g.Name)
				maps.DeleteFunc(e.rows, func(k, _ string) bool { return strings.HasPrefix(k, g.Name+"/") })
			case g.Read:
				e.state[g.Name] = fmt.Sprint("read of ", g.Parts(open.Spec))
			default:
				e.state[g.Name] = "unread"
			}
		}),
		stage.OnRaw(law, func(e *envoy, in *stage.In, _ stage.Raw) error {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.by = append(out.by, fmt.Sprint(e.state, e.rows))
			return nil
		}))
}

// overseas is a bench whose stage serves every region that there is but one; two are
// there from the beginning.
func overseas(t *testing.T, out *judged, f func(b *stagetest.Bench, regions *stage.Regions, ask func() string)) {
	s := envoys(out)
	stagetest.Run(t, 0, s, 2, func(b *stagetest.Bench) {
		b.Regions = stage.NewRegions(func(name string) bool { return name != "not-ours" }, s)
		b.Found("eu-1")
		b.Found("not-ours")
		stop := keep(b)
		defer stop()
		n := 0
		f(b, b.Regions, func() string {
			n++
			b.Send(law.Event(fmt.Append(nil, n), []byte("x"), nil))
			b.Settled()
			return strings.Join(out.taken(), "; ")
		})
	})
}

func keep(b *stagetest.Bench) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Regions.Keep(ctx, stage.Env{Kafka: b.Kafka(b.Dial), Log: b.Log}); err != nil {
			b.T.Error(err)
		}
	}()
	return func() { cancel(); <-ended }
}

func rowOf(region, key, value string) topics.Event {
	return open.Event([]byte(key), wrapperspb.String(value)).For(region)
}

// Goal: a stage sees the tables of all regions that it serves before its first event,
// and of one that comes while it runs, each with its name; one that goes is told to go.
func TestRegionsComeAndGo(t *testing.T) {
	overseas(t, &judged{}, func(b *stagetest.Bench, regions *stage.Regions, ask func() string) {
		b.Send(rowOf("eu-1", "a", "1"), rowOf("not-ours", "a", "9"), rowOf(stagetest.Region, "a", "2"))
		b.Join(0)
		want := func(text string) {
			b.T.Helper()
			if got := ask(); got != text {
				b.T.Errorf("got  %s\nwant %s", got, text)
			}
		}
		want("map[eu-1:read of 2 test-1:read of 2] map[eu-1/a:1 test-1/a:2]")
		b.Found("us-1")
		b.Send(rowOf("us-1", "b", "3"), rowOf("eu-1", "a", "4"))
		time.Sleep(2 * time.Second)
		asked := time.Now()
		for !regions.Fresh(time.Second) {
			time.Sleep(100 * time.Millisecond)
		}
		if got := regions.Names(); !slices.Contains(got, "us-1") || time.Since(asked) > 2*time.Second {
			b.T.Errorf("asked for %v, and there are %v", time.Since(asked), got)
		}
		time.Sleep(5 * time.Second) // to read it; nobody waits for who comes late
		want("map[eu-1:read of 2 test-1:read of 2 us-1:read of 2] map[eu-1/a:4 test-1/a:2 us-1/b:3]")
		b.Raze("us-1")
		time.Sleep(40 * time.Second)
		if got := regions.Names(); !slices.Contains(got, "us-1") {
			b.T.Errorf("gone too soon: %v", got)
		}
		time.Sleep(2 * time.Minute)
		want("map[eu-1:read of 2 test-1:read of 2] map[eu-1/a:4 test-1/a:2]")
		for _, key := range []string{"c", "d"} { // another of that name, the second time at once
			b.Raze("us-1")
			b.Found("us-1")
			b.Send(rowOf("us-1", key, "5"))
			time.Sleep(time.Minute)
			want("map[eu-1:read of 2 test-1:read of 2 us-1:read of 2] map[eu-1/a:4 test-1/a:2 us-1/" + key + ":5]")
		}
	})
}

// A region that cannot be read, or that has a row which nobody can read, stands in no
// other's way.
func TestRegionsDoNotWaitForEachOther(t *testing.T) {
	out := &judged{}
	overseas(t, out, func(b *stagetest.Bench, _ *stage.Regions, ask func() string) {
		b.Send(rowOf("eu-1", "a", "1"), rowOf(stagetest.Region, "a", "2"))
		bad := rowOf("eu-1", "b", "")
		bad.Value = []byte{0xff}
		b.Send(bad)
		far := b.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownServerError, Count: -1, When: func(r kmsg.Request) bool {
			return slices.ContainsFunc(r.(*kmsg.ListOffsetsRequest).Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return strings.HasPrefix(t.Topic, "eu-1.") })
		}})
		began := time.Now()
		b.Join(0)
		got := ask()
		if took := time.Since(began); took < patience || took > 2*patience {
			b.T.Errorf("it waited for %v", took)
		}
		if want := "map[eu-1:unread test-1:read of 2]"; !strings.HasPrefix(got, want) {
			b.T.Errorf("got  %s\nwant %s …", got, want)
		}
		far.Remove()
		time.Sleep(30 * time.Second)
		if got, want := ask(), "map[eu-1:read of 2 test-1:read of 2] map[eu-1/a:1 test-1/a:2]"; got != want {
			b.T.Errorf("got  %s\nwant %s", got, want)
		}
		if b.Count(stage.Passed) != 1 || b.Count(stage.Failed) != 0 {
			b.T.Errorf("%d rows passed, %d rooms failed", b.Count(stage.Passed), b.Count(stage.Failed))
		}
	})
}
