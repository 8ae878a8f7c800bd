package watch

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Ages is a gauge, by region, stage and topic, of how long the oldest of some troubles has
// lasted, in seconds when it is asked. Safe for concurrent use.
type Ages struct {
	desc *prometheus.Desc

	mu    sync.Mutex
	since map[trouble]time.Time
	names map[[3]string]bool // region, stage and topic: one that was there once stays, at 0
}

type trouble struct {
	region, stage, topic string
	part                 int32
}

func newAges(name, help string) *Ages {
	return &Ages{desc: prometheus.NewDesc(name, help, []string{"region", "stage", "topic"}, nil), since: map[trouble]time.Time{}, names: map[[3]string]bool{}}
}

// Set says since when a partition has this trouble; zero: it is over.
func (a *Ages) Set(since time.Time, region, stage, topic string, part int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names[[3]string{region, stage, topic}] = true
	if at := (trouble{region, stage, topic, part}); since.IsZero() {
		delete(a.since, at)
	} else {
		a.since[at] = since
	}
}

// Clear ends all troubles of a stage's partition in a region: it works again, or is another's.
func (a *Ages) Clear(region, stage string, part int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for at := range a.since {
		if at.region == region && at.stage == stage && at.part == part {
			delete(a.since, at)
		}
	}
}

// Describe makes it a collector.
func (a *Ages) Describe(to chan<- *prometheus.Desc) { to <- a.desc }

// Collect tells the oldest of each.
func (a *Ages) Collect(to chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	oldest := map[[3]string]float64{}
	for at, since := range a.since {
		by := [3]string{at.region, at.stage, at.topic}
		oldest[by] = max(oldest[by], now.Sub(since).Seconds())
	}
	for by := range a.names {
		to <- prometheus.MustNewConstMetric(a.desc, prometheus.GaugeValue, oldest[by], by[0], by[1], by[2])
	}
}
