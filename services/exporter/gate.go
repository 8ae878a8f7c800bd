package exporter

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// gateStep is how long a gate waits for what a change of its width brings about.
	gateStep = time.Second
	// gateReads are needed, too, before it narrows again: what was on its way then was
	// slow for the old width.
	gateReads = 8
	// gateMean: each read moves the mean by an eighth.
	gateMean = 8
)

// gate is how many reads of one store this process has under way at once: halved
// while they take longer than the source's limit, down to one, and one more each
// second that they don't. The others wait, in order.
type gate struct {
	slow time.Duration
	most int
	now  func() time.Time

	mu     sync.Mutex
	width  int
	busy   int
	line   []chan struct{}
	mean   time.Duration
	reads  int       // since the last change
	turned time.Time // when that was
}

func newGate(slow time.Duration, most int, now func() time.Time) *gate {
	return &gate{slow: slow, most: most, now: now, width: most, turned: now()}
}

// enter waits for a place.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.busy < g.width && len(g.line) == 0 {
		g.busy++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.line = append(g.line, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, turn); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
	} else {
		g.busy-- // it was let in, too late
		g.letIn()
	}
	return context.Cause(ctx)
}

// leave gives the place back, and says how long the read took.
func (g *gate) leave(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	g.judge(took)
	g.letIn()
}

func (g *gate) letIn() {
	for ; g.busy < g.width && len(g.line) > 0; g.line = g.line[1:] {
		g.busy++
		close(g.line[0])
	}
}

func (g *gate) judge(took time.Duration) {
	if g.mean == 0 {
		g.mean = took
	}
	g.mean += (took - g.mean) / gateMean
	g.reads++
	now := g.now()
	if now.Sub(g.turned) < gateStep {
		return
	}
	switch {
	case g.mean <= g.slow:
		g.width = min(g.most, g.width+1)
	case g.reads < gateReads:
		return
	default:
		g.width = max(1, g.width/2)
	}
	g.reads, g.turned = 0, now
}

func (g *gate) widthNow() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.width)
}

func (g *gate) seconds() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mean.Seconds()
}
