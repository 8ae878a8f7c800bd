package watch

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync"
)

// Health says whether each part of the process does its work. Parts speak for
// themselves; one that has never spoken is not counted. Safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	parts    map[string]string // what each waits for; empty: ready
	stopping bool
}

// Stop says that the process was told to stop, and takes no more work: from here it
// is not ready, whatever its parts say. It is alive until it ends.
func (h *Health) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// Ready says that the part does its work.
func (h *Health) Ready(part string) { h.set(part, "") }

// Waiting says what the part waits for. It is not an error: whoever waits for
// Kafka is alive, and a restart would help nobody.
func (h *Health) Waiting(part, what string) { h.set(part, what) }

func (h *Health) set(part, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parts == nil {
		h.parts = map[string]string{}
	}
	h.parts[part] = what
}

// State returns what each part waits for, and whether all are ready. A process
// without parts is not, nor is one that stops.
func (h *Health) State() (parts map[string]string, ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts = maps.Clone(h.parts)
	return parts, !h.stopping && len(parts) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(parts)), func(what string) bool { return what != "" })
}

// ServeHTTP answers 200 if all parts are ready, else 503, and which waits for what.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	parts, ready := h.State()
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for part, what := range parts {
		if what == "" {
			parts[part] = "ready"
		}
	}
	json.NewEncoder(w).Encode(map[string]any{"ready": ready, "parts": parts}) // whoever hung up needs no answer
}

// Handler serves what an orchestrator and a scraper ask of a process: /metrics,
// /readyz, /livez, which answers as long as the process can, and the runtime's
// profiles below /debug/pprof/.
func Handler(m *Metrics, h *Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("GET /readyz", h)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, goroutine, mutex, ... by name
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
