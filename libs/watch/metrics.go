package watch

import (
	"errors"
	"net/http"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are a process's. Labels are regions, stages, topics and words from short
// lists: an id never is one, because each value lives for ever.
type Metrics struct {
	// Registry is the process's own; who has a limit registers its gauge here.
	Registry *prometheus.Registry

	Inputs  *prometheus.CounterVec   // region, stage, topic, outcome
	Seconds *prometheus.HistogramVec // region, stage, topic: in the handler
	Events  *prometheus.CounterVec   // region, stage, event: what befell its rooms
	Lost    *prometheus.CounterVec   // region, stage, topic: records that left the log unread
	Lag     *prometheus.GaugeVec     // region, stage, topic: records not done
	Held    *prometheus.GaugeVec     // region, stage, topic: records handled or held
	Rooms   *prometheus.GaugeVec     // region, stage, state: all, ready
	Recall  *prometheus.HistogramVec // region, stage: seconds until the tables were read

	Retrying *Ages // region, stage, topic: since when an input is tried again and again
	Stopped  *Ages // region, stage, topic: since when a row of that table stops a room

	// Lied counts places that a source's change tracking claimed unchanged, and that
	// a full read found changed. Anything but 0 is an alarm.
	Lied *prometheus.CounterVec // source

	// Dues counts times at which policies wanted a backup, by what became of them.
	Dues *prometheus.CounterVec // outcome
}

// handlerBuckets reach from a hash (100 us) to an upload that waits for a slow
// target (100 s), four to a decade of what matters.
var handlerBuckets = []float64{1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3, 10, 30, 100}

// collectorCPU is what the garbage collector takes of all CPU time, as the runtime
// estimates it: a process whose buffers fill its memory limit does little else.
var collectorCPU = regexp.MustCompile(`^/cpu/classes/(gc/total|user|scavenge/total):cpu-seconds$`)

// NewMetrics makes a registry with the runtime's and the runner's metrics.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Inputs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_stage_inputs_total",
			Help: "Attempts at an input, by how they ended: done, retry, refused. Topic is empty for what the clock begins."}, []string{"region", "stage", "topic", "outcome"}),
		Seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdfast_stage_handler_seconds",
			Help: "Time in a handler, background work not counted.", Buckets: handlerBuckets}, []string{"region", "stage", "topic"}),
		Events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_stage_events_total",
			Help: "What befell rooms: failed (built again), renewed (client given up), overdue (a hold), trouble (the bus), no_room (what it writes to is full), assigned, revoked, commit_failed."}, []string{"region", "stage", "event"}),
		Lost: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_stage_records_lost_total",
			Help: "Records that left the log before they were read."}, []string{"region", "stage", "topic"}),
		Lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdfast_stage_lag_records",
			Help: "Records in the log that are not done, of this process's rooms."}, []string{"region", "stage", "topic"}),
		Held: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdfast_stage_held_records",
			Help: "Records in a handler or under a hold. Bounded by the staging window, not by a cap."}, []string{"region", "stage", "topic"}),
		Rooms: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdfast_stage_rooms",
			Help: "Rooms of this process: all, and ready (tables recalled)."}, []string{"region", "stage", "state"}),
		Recall: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdfast_stage_recall_seconds",
			Help: "From a room's birth until it has seen its tables.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 9)}, []string{"region", "stage"}),
	}
	m.Lied = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_tracking_lied_places_total",
		Help: "Places that change tracking claimed unchanged, and a full read found changed. Points since the last full read may be wrong."}, []string{"source"})
	m.Dues = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_policy_dues_total",
		Help: "Times at which a policy wanted a backup of a machine: ordered, missed (nobody was there: the newest of several is done), under_way (the one before was not over), full (16 orders of the machine wait), too_late, held (taken back for a blackout, and ordered again), withdrawn (the policy does not want it any more), cancelled; over (a machine has more than 16 policies)."}, []string{"outcome"})
	m.Retrying = newAges("holdfast_stage_retrying_seconds", "How long the oldest input that is being retried has been so; 0: none is. Topic is empty for what the clock begins.")
	m.Stopped = newAges("holdfast_stage_stopped_seconds", "How long a room of the stage has stood still over a row of this table that it can neither take nor pass. See holdfast refused list.")
	m.Registry.MustRegister(m.Lied, m.Dues, m.Retrying, m.Stopped,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: collectorCPU})), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.Inputs, m.Seconds, m.Events, m.Lost, m.Lag, m.Held, m.Rooms, m.Recall)
	return m
}

// Gauge registers a number that is asked for when somebody looks. A name that is
// registered again has the new value: a stage that is built anew has new rooms.
func (m *Metrics) Gauge(name, help string, value func() float64) { m.GaugeOf(name, help, nil, value) }

// GaugeOf is Gauge for one of several that share a name, told apart by labels.
func (m *Metrics) GaugeOf(name, help string, labels map[string]string, value func() float64) {
	g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
	err := m.Registry.Register(g)
	if old, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		m.Registry.Unregister(old.ExistingCollector)
		err = m.Registry.Register(g)
	}
	if err != nil {
		panic("watch: gauge " + name + ": " + err.Error()) // no metric's name, or another kind's: our bug
	}
}

// Handler serves the registry.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{Registry: m.Registry})
}
