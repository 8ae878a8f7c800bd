package stage

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-backup/holdfast/libs/watch"
)

// Telemetry is the Watch that feeds metrics, health and traces; all stages of a
// process share one. tracer may be nil: then no spans are made.
func Telemetry(m *watch.Metrics, h *watch.Health, tracer trace.Tracer) Watch {
	return &telemetry{metrics: m, health: h, tracer: tracer, ports: map[where]*port{}, rooms: map[whose]map[int32]bool{}, stood: map[where]map[int32]Note{}}
}

type telemetry struct {
	metrics *watch.Metrics
	health  *watch.Health
	tracer  trace.Tracer

	mu    sync.RWMutex
	ports map[where]*port
	rooms map[whose]map[int32]bool // by number: recalled?
	stood map[where]map[int32]Note // what the gauges count of each room
}

// whose is a stage of one region: a process may run one of each.
type whose struct{ region, stage string }

type where struct {
	whose
	topic string
}

func by(n Note) where { return where{whose{n.Region, n.Stage}, n.Topic} }

// port is a topic's metrics, looked up once: each input counts twice here.
type port struct {
	done, retry, refused prometheus.Counter
	seconds              prometheus.Observer
}

func (t *telemetry) port(at where) *port {
	t.mu.RLock()
	p := t.ports[at]
	t.mu.RUnlock()
	if p != nil {
		return p
	}
	p = &port{
		done:    t.metrics.Inputs.WithLabelValues(at.region, at.stage, at.topic, string(Done)),
		retry:   t.metrics.Inputs.WithLabelValues(at.region, at.stage, at.topic, string(Retry)),
		refused: t.metrics.Inputs.WithLabelValues(at.region, at.stage, at.topic, string(Refusal)),
		seconds: t.metrics.Seconds.WithLabelValues(at.region, at.stage, at.topic),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports[at] = p
	return p
}

// Begin starts a span for an input; a beat is nobody's consequence and has none.
func (t *telemetry) Begin(ctx context.Context, n Note) context.Context {
	if t.tracer != nil && n.Topic != "" {
		ctx, _ = t.tracer.Start(ctx, n.Stage+" "+n.Topic, trace.WithSpanKind(trace.SpanKindConsumer))
	}
	return ctx
}

func (t *telemetry) End(ctx context.Context, n Note) {
	p := t.port(by(n))
	p.seconds.Observe(n.Took.Seconds())
	if n.Count > 0 { // it was, or is, tried again
		since := n.Since
		if n.Kind != Retry {
			since = time.Time{}
		}
		t.metrics.Retrying.Set(since, n.Region, n.Stage, n.Topic, n.Part)
	}
	switch n.Kind {
	case Done:
		p.done.Inc()
	case Refusal:
		p.refused.Inc()
	default:
		p.retry.Inc()
	}
	if t.tracer != nil && n.Topic != "" {
		span := trace.SpanFromContext(ctx)
		if n.Err != nil {
			span.SetStatus(codes.Error, n.Err.Error())
		}
		span.End()
	}
}

func (t *telemetry) Tell(n Note) {
	switch n.Kind {
	case Standing:
		t.stand(n)
		return
	case Lost:
		t.metrics.Lost.WithLabelValues(n.Region, n.Stage, n.Topic).Add(float64(n.Count))
	case Committed:
		if n.Err != nil {
			t.metrics.Events.WithLabelValues(n.Region, n.Stage, "commit_failed").Inc()
		}
		return
	case Recalled:
		t.metrics.Recall.WithLabelValues(n.Region, n.Stage).Observe(n.Took.Seconds())
	case Stopped:
		t.metrics.Stopped.Set(n.Since, n.Region, n.Stage, n.Topic, n.Part)
	}
	t.metrics.Events.WithLabelValues(n.Region, n.Stage, string(n.Kind)).Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	of := by(n).whose
	rooms := t.rooms[of]
	if rooms == nil {
		rooms = map[int32]bool{}
		t.rooms[of] = rooms
	}
	switch n.Kind {
	case Starting:
		t.health.Waiting(of.part(), "its group")
		return
	case Assigned, Failed:
		rooms[n.Part] = false
	case Recalled:
		rooms[n.Part] = true
		t.metrics.Stopped.Clear(n.Region, n.Stage, n.Part)
	case Revoked:
		delete(rooms, n.Part)
		t.forget(n)
		t.metrics.Stopped.Clear(n.Region, n.Stage, n.Part)
		t.metrics.Retrying.Clear(n.Region, n.Stage, n.Part)
	case Joined:
	default:
		return
	}
	t.count(of, rooms)
}

// count is called under the lock.
func (t *telemetry) count(of whose, rooms map[int32]bool) {
	ready := 0
	for _, r := range rooms {
		if r {
			ready++
		}
	}
	t.metrics.Rooms.WithLabelValues(of.region, of.stage, "all").Set(float64(len(rooms)))
	t.metrics.Rooms.WithLabelValues(of.region, of.stage, "ready").Set(float64(ready))
	if ready < len(rooms) {
		t.health.Waiting(of.part(), fmt.Sprintf("its tables: %d of %d rooms have read them", ready, len(rooms)))
	} else {
		t.health.Ready(of.part())
	}
}

// part is how health names it.
func (w whose) part() string { return w.region + "." + w.stage }

func (t *telemetry) stand(n Note) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := by(n)
	if t.stood[at] == nil {
		t.stood[at] = map[int32]Note{}
	}
	t.move(at, t.stood[at][n.Part], n)
	t.stood[at][n.Part] = n
}

// forget takes a room that is not ours any more out of the gauges.
func (t *telemetry) forget(n Note) {
	for at, parts := range t.stood {
		if at.whose == by(n).whose {
			t.move(at, parts[n.Part], Note{})
			delete(parts, n.Part)
		}
	}
}

func (t *telemetry) move(at where, from, to Note) {
	t.metrics.Lag.WithLabelValues(at.region, at.stage, at.topic).Add(float64(to.Count - from.Count))
	t.metrics.Held.WithLabelValues(at.region, at.stage, at.topic).Add(float64(to.Held - from.Held))
}

// Hooks are for the client of one membership of a stage.
func (t *telemetry) Hooks() []kgo.Hook {
	return []kgo.Hook{kprom.NewMetrics("holdfast_kafka", kprom.Registry(t.metrics.Registry), kprom.WithClientLabel())}
}
