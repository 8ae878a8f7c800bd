package stage_test

import (
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/topics"
)

// relay hands on what it gets, at once or after a hold, and some of it abroad.
var relay = stage.Define("relay", func(env stage.Env) (func(*stage.Room) (*clerk, error), error) {
	if env.Parts(open.Spec) != 2 {
		panic("open is called before the counts are known")
	}
	return func(at *stage.Room) (*clerk, error) { return &clerk{at: at}, nil }, nil
}, stage.On(leased, func(c *clerk, in *stage.In, j words) error {
	time.Sleep(40 * time.Millisecond)
	if j.Value == "held" {
		h := in.Hold()
		time.AfterFunc(time.Second, func() { h.Release(say(open, "held", "x")) })
		return nil
	}
	if j.Value == "measured" {
		h := in.Hold()
		time.AfterFunc(time.Second, func() {
			h.Release(topics.Took(30*time.Millisecond, say(open, "held/1", "x"), say(open, "held/2", "x"))...)
			c.at.Emit(topics.Took(20*time.Millisecond, say(open, "room", "x"))...)
			c.at.Emit(say(open, "silent", "x"))
		})
		return nil
	}
	in.Emit(say(open, j.Value, "x").To(1))
	in.Emit(say(open, "abroad", "x").For("test-2").To(0))
	return nil
}), stage.Emits[*clerk](open.Spec))

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What is emitted carries the way of its input: one stamp more, and the trace.
func TestTheWayOfARecordRidesWithIt(t *testing.T) {
	stagetest.Run(t, 0, relay, 2, func(b *stagetest.Bench) {
		b.Cluster.CreateTopic(open.In("test-2"), 1, nil)
		b.Join(0)
		first := lease("a", "first")
		first.Headers = map[string]string{"traceparent": parent}
		b.Send(first)
		b.Settled()
		recs := b.Records(open.In(stagetest.Region))
		if len(recs) != 1 || recs[0].Partition != 1 || len(b.Records(open.In("test-2"))) != 1 {
			b.T.Fatalf("records: %v", recs)
		}
		again := lease("a", "held")
		again.Headers = map[string]string{}
		for _, h := range recs[0].Headers {
			again.Headers[h.Key] = string(h.Value)
		}
		b.Send(again)
		b.Settled()
		for _, rec := range b.Records(open.In(stagetest.Region)) {
			stamps, err := stage.StampsOf(rec.Headers)
			if err != nil {
				b.T.Fatal(err)
			}
			want, busy := 1, int64(40_000)
			if string(rec.Key) == "held" {
				want, busy = 2, 1_040_000
			}
			if len(stamps) != want || string(stage.Headers(rec.Headers).Get("traceparent")) != parent {
				b.T.Fatalf("%s carries %v", rec.Key, rec.Headers)
			}
			if own := stamps[want-1]; own.Stage != "relay" || own.BusyUs < busy || own.BusyUs > busy+20_000 || own.Worker != "member-1" || own.StartUs == 0 || own.WaitUs < 0 {
				b.T.Errorf("%s is stamped %v", rec.Key, own)
			}
		}
	})
}

// A stage that works beside its rooms says itself how long: each of several records
// has its part, and a record that no input led to has a stamp at all.
func TestStageSaysHowLongItTook(t *testing.T) {
	stagetest.Run(t, 0, relay, 2, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(lease("a", "measured"))
		b.Settled()
		got := map[string]int64{}
		for _, rec := range b.Records(open.In(stagetest.Region)) {
			stamps, err := stage.StampsOf(rec.Headers)
			if err != nil {
				b.T.Fatal(err)
			}
			got[string(rec.Key)] = -1
			if len(stamps) == 1 && stamps[0].Worker == "member-1" && stamps[0].StartUs > 0 {
				got[string(rec.Key)] = stamps[0].BusyUs
			}
		}
		if want := map[string]int64{"held/1": 15_000, "held/2": 15_000, "room": 20_000, "silent": -1}; !maps.Equal(got, want) {
			b.T.Errorf("busy for %v us, want %v", got, want)
		}
	})
}

func metricsOf(t *testing.T, m *watch.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// Metrics, health and traces tell what a room does.
func TestTelemetry(t *testing.T) {
	m, h := watch.NewMetrics(), &watch.Health{}
	stagetest.Run(t, 0, clerking, 2, func(b *stagetest.Bench) {
		b.Watch = stage.Telemetry(m, h, nil)
		member := b.Join(0)
		b.Send(lease("a", "one"), lease("b", "bad"), lease("c", "held"))
		time.Sleep(5 * time.Second)
		if _, ready := h.State(); !ready {
			b.T.Error("not ready")
		}
		text := metricsOf(t, m)
		for _, want := range []string{
			`holdfast_stage_inputs_total{outcome="done",region="test-1",stage="clerk",topic="test-1.jobs.leased"} 2`,
			`holdfast_stage_inputs_total{outcome="refused",region="test-1",stage="clerk",topic="test-1.jobs.leased"} 1`,
			`holdfast_stage_held_records{region="test-1",stage="clerk",topic="test-1.jobs.leased"} 1`,
			`holdfast_stage_lag_records{region="test-1",stage="clerk",topic="test-1.jobs.leased"} 1`,
			`holdfast_stage_rooms{region="test-1",stage="clerk",state="ready"} 2`,
			`holdfast_kafka_connects_total`,
		} {
			if !strings.Contains(text, want) {
				b.T.Errorf("no %s", want)
			}
		}
		member.Leave()
		if text := metricsOf(t, m); !strings.Contains(text, `holdfast_stage_held_records{region="test-1",stage="clerk",topic="test-1.jobs.leased"} 0`) ||
			!strings.Contains(text, `holdfast_stage_rooms{region="test-1",stage="clerk",state="all"} 0`) {
			b.T.Error("a room that is gone still counts")
		}
	})
}
