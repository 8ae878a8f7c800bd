package watch

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

// A process is ready when each part has said so, and not before one has spoken.
func TestReadyMeansAllParts(t *testing.T) {
	m, h := NewMetrics(), &Health{}
	web := Handler(m, h)
	want := func(code int, word string) {
		t.Helper()
		if got, body := get(t, web, "/readyz"); got != code || !strings.Contains(body, word) {
			t.Errorf("got %d %s, want %d %s", got, body, code, word)
		}
	}
	want(503, "false")
	h.Waiting("deduper", "rooms 1 of 4")
	h.Ready("auditor")
	want(503, "rooms 1 of 4")
	h.Ready("deduper")
	want(200, `"deduper":"ready"`)
	h.Waiting("auditor", "Kafka")
	want(503, "Kafka")
	h.Ready("auditor")
	want(200, "true")
	h.Stop()
	want(503, `"ready":false`)
	h.Ready("auditor")
	want(503, `"ready":false`) // what still starts takes no work either
	if code, _ := get(t, web, "/livez"); code != 200 {
		t.Errorf("livez: %d", code)
	}
}

func TestMetricsAreServed(t *testing.T) {
	m := NewMetrics()
	m.Inputs.WithLabelValues("eu-1", "deduper", "chunks.cut", "done").Add(3)
	_, body := get(t, Handler(m, &Health{}), "/metrics")
	if !strings.Contains(body, `holdfast_stage_inputs_total{outcome="done",region="eu-1",stage="deduper",topic="chunks.cut"} 3`) {
		t.Error(body)
	}
}

func TestGaugeIsAskedAndReplaced(t *testing.T) {
	m := NewMetrics()
	m.Gauge("holdfast_x", "X.", func() float64 { return 3 })
	m.Gauge("holdfast_x", "X.", func() float64 { return 4 })
	if _, body := get(t, Handler(m, &Health{}), "/metrics"); !strings.Contains(body, "\nholdfast_x 4\n") {
		t.Error(body)
	}
}

func TestLogsAreJSONWhereNobodySits(t *testing.T) {
	var b bytes.Buffer
	Logger(&b, slog.LevelInfo).Info("hello", "part", 3)
	if !strings.Contains(b.String(), `"msg":"hello","part":3`) {
		t.Error(b.String())
	}
}

// Spans reach a collector; without an endpoint nothing is made.
func TestSpansAreSent(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + string(b)
	}))
	defer srv.Close()
	tracer, stop, err := Tracer(t.Context(), srv.URL+"/v1/traces", 1, "host/1")
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(context.Background(), "chunks.cut")
	span.End()
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := <-got; !strings.HasPrefix(s, "/v1/traces") || !strings.Contains(s, "chunks.cut") || !strings.Contains(s, "host/1") {
		t.Errorf("got %q", s)
	}
	tracer, _, _ = Tracer(t.Context(), "", 1, "")
	if _, span := tracer.Start(context.Background(), "x"); span.IsRecording() || span.SpanContext().IsValid() {
		t.Error("a span without a tracer")
	}
}
