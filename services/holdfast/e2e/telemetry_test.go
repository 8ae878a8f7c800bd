package e2e

import (
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/topics"
)

// spans is an OTLP collector that keeps the names of spans by trace.
type spans struct {
	mu sync.Mutex
	of map[string]map[string]bool
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, r.URL.Path, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range req.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				id := hex.EncodeToString(span.TraceId)
				if s.of[id] == nil {
					s.of[id] = map[string]bool{}
				}
				s.of[id][span.Name] = true
			}
		}
	}
}

// trace is the one that the span of that name is in, with its other spans.
func (s *spans) trace(name string) (ids []string, names map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, in := range s.of {
		if in[name] {
			ids, names = append(ids, id), maps.Clone(in)
		}
	}
	return ids, names
}

// From the request to the completion every record of a backup is handled in one
// trace, also where its cause was a row or a clock; and the request's sender reads
// the same trace on the completed event.
func TestBackupIsOneTrace(t *testing.T) {
	t.Parallel()
	got := &spans{of: map[string]map[string]bool{}}
	srv := httptest.NewServer(got)
	t.Cleanup(srv.Close) // after the house, which sends its last spans
	u := startWith(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 3<<20)}}, "traces: {endpoint: '"+srv.URL+"/v1/traces', share: 1}")
	if ends := u.ends("--match", "*"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatal(names(ends))
	}
	walk := []string{"intake backups.requested", "scheduler local.backups.queued", "exporter local.backups.leased", "auditor local.backups.leased",
		"chunker local.extents.exported", "auditor local.files.exported", "deduper local.chunks.cut", "auditor local.extents.cut",
		"compressor-encryptor local.chunks.fresh", "uploader local.packs.sealed", "auditor local.chunks.landed", "exporter local.extents.closed",
		"scheduler local.exports.ended", "scheduler local.backups.judged"}
	missing := func() (not []string) {
		_, in := got.trace(walk[0])
		for _, name := range walk {
			if !in[name] {
				not = append(not, name)
			}
		}
		return not
	}
	u.until("the spans of the walk", func() bool {
		seen := true
		for _, name := range walk {
			ids, _ := got.trace(name)
			seen = seen && len(ids) > 0
		}
		return seen
	})
	if not := missing(); len(not) > 0 {
		t.Errorf("not in the trace of the request: %v", not)
	}
	for _, name := range walk {
		if ids, _ := got.trace(name); len(ids) != 1 {
			t.Errorf("%s is in the traces %v", name, slices.Sorted(slices.Values(ids)))
		}
	}
	ids, _ := got.trace(walk[0])
	cl := u.kafka()
	for rec, err := range cl.Read(t.Context(), topics.BackupsCompleted.Spec, 0) {
		u.must(err)
		if parent := rec.Headers["traceparent"]; len(ids) != 1 || !strings.HasPrefix(parent, "00-"+ids[0]) {
			t.Errorf("the completed event carries %q, of the trace %v", parent, ids)
		}
	}
}

// What a stage bounds is a metric of the process, at the address that up says.
func TestMetricsOfTheHouse(t *testing.T) {
	t.Parallel()
	u := start(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 1<<20)}})
	u.ends("--match", "*")
	want := []string{"holdfast_deduper_claims 0", "holdfast_deduper_waiters 0", "holdfast_deduper_condemned_packs 0",
		"holdfast_deduper_index_bytes ", `holdfast_stage_rooms{region="local",stage="deduper",state="ready"}`}
	u.until("the metrics of a house at rest", func() bool {
		answer, err := http.Get(u.run.Metrics)
		u.must(err)
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		u.must(err)
		return !slices.ContainsFunc(want, func(name string) bool { return !strings.Contains(string(b), "\n"+name) })
	})
}
