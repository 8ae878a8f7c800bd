package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sample is what the house's own metrics say at one moment, over all processes.
type sample map[series]float64

// series is a metric with two of its labels; the others are summed.
type series struct{ name, stage, topic string }

// read adds what a process tells.
func (s sample) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "holdfast_") && !strings.HasPrefix(line, "go_cpu_classes_") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return fmt.Errorf("metric %q: %w", line, err)
		}
		name, labels, _ := strings.Cut(line[:at], "{")
		stage := label(labels, "stage")
		if client := label(labels, "client_id"); client != "" {
			_, stage, _ = strings.Cut(client, ".")
		}
		s[series{name, stage, label(labels, "topic")}] += value
	}
	return lines.Err()
}

// label of a series; none of ours has a quote in its value.
func label(labels, name string) string {
	_, rest, ok := strings.Cut(","+labels, ","+name+`="`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// sum is that of all series of a name.
func (s sample) sum(name string) (n float64) {
	for k, v := range s {
		if k.name == name {
			n += v
		}
	}
	return n
}

// byStage is the same for each stage.
func (s sample) byStage(name string) map[string]float64 {
	all := map[string]float64{}
	for k, v := range s {
		if k.name == name {
			all[k.stage] += v
		}
	}
	return all
}

// look asks all processes.
func (l *living) look(ctx context.Context) (sample, error) {
	s := sample{}
	for _, p := range l.all {
		if p.metrics == "" {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
		if err != nil {
			return nil, err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
		err = s.read(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
	}
	return s, nil
}

// Metrics of the house that are watched.
const (
	lagMetric     = "holdfast_stage_lag_records"
	heldMetric    = "holdfast_stage_held_records"
	inputsMetric  = "holdfast_stage_inputs_total"
	handlerMetric = "holdfast_stage_handler_seconds_sum"
	produceMetric = "holdfast_kafka_produce_bytes_total"

	// These two are of the time that the runtime had, also while another process had
	// its core: only their ratio says something.
	collectorMetric = "go_cpu_classes_gc_total_cpu_seconds_total"
	programMetric   = "go_cpu_classes_user_cpu_seconds_total"
)

// spentBy is the CPU time of each process in seconds; that of a child of the house
// is the ledger's.
func (l *living) spentBy() map[string]float64 {
	all := map[string]float64{}
	l.each(func(name string, pid int) {
		cpu, _, _ := spent(pid)
		all[name] += cpu
	})
	return all
}

// each shows every process of the house by name.
func (l *living) each(f func(name string, pid int)) {
	for _, p := range l.all {
		f(p.name, p.pid)
		for _, pid := range below(p.pid) {
			f("ledger", pid)
		}
	}
}

// watcher remembers the most of what was seen while it looks, once a second.
type watcher struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	lag    map[string]float64 // stage and topic: the most records that it was behind
	memory float64            // bytes of all processes together, at one moment
	files  map[string]int     // open at one moment
	err    error              // of the last look
}

func (l *living) watch(ctx context.Context) *watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{stop: stop, lag: map[string]float64{}, files: map[string]int{}}
	l.each(func(_ string, pid int) { forgetPeak(pid) })
	w.done.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
				w.look(ctx, l)
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

func (w *watcher) look(ctx context.Context, l *living) {
	s, err := l.look(ctx)
	memory := 0.0
	files := map[string]int{}
	l.each(func(name string, pid int) {
		memory += float64(status(pid, "VmRSS:"))
		files[name] += filesOpen(pid)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		w.err = err
	}
	for k, v := range s {
		if k.name == lagMetric {
			w.lag[k.stage+" "+k.topic] = max(w.lag[k.stage+" "+k.topic], v)
		}
	}
	w.memory = max(w.memory, memory)
	for name, n := range files {
		w.files[name] = max(w.files[name], n)
	}
}

// end stops looking, and returns the peak of each process.
func (w *watcher) end(l *living) map[string]int64 {
	w.stop()
	w.done.Wait()
	peaks := map[string]int64{}
	l.each(func(name string, pid int) { peaks[name] = max(peaks[name], peak(pid)) })
	maps.DeleteFunc(w.lag, func(_ string, n float64) bool { return n == 0 })
	return peaks
}
