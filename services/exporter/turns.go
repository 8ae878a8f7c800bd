package exporter

import (
	"context"
	"slices"
	"sync"
)

// turns are the rights to read: each reader has a buffer, and a process has so many.
// Sources share them evenly: one that is read slowly, by a limit of ours or by itself,
// would else come to hold them all, and stop the others for as long as it takes.
// So a turn goes to who waits for the source that has fewest, and a reader hands its
// own on between extents while another source is owed one. All of one source are
// served in order.
type turns struct {
	mu   sync.Mutex
	free int
	held map[string]int // by source
	line []*waiting
}

type waiting struct {
	source string
	turn   chan struct{}
}

func newTurns(n int) *turns { return &turns{free: n, held: map[string]int{}} }

// take waits for a turn.
func (t *turns) take(ctx context.Context, source string) error {
	w := &waiting{source, make(chan struct{})}
	t.mu.Lock()
	t.line = append(t.line, w)
	t.letIn()
	t.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.line, w); i >= 0 {
		t.line = slices.Delete(t.line, i, i+1)
	} else { // it was let in, too late
		t.back(source)
	}
	return context.Cause(ctx)
}

// give gives a turn back.
func (t *turns) give(source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.back(source)
}

func (t *turns) back(source string) {
	if t.held[source]--; t.held[source] == 0 {
		delete(t.held, source)
	}
	t.free++
	t.letIn()
}

func (t *turns) letIn() {
	for t.free > 0 && len(t.line) > 0 {
		next := 0
		for i, w := range t.line {
			if t.held[w.source] < t.held[t.line[next].source] {
				next = i
			}
		}
		w := t.line[next]
		t.line = slices.Delete(t.line, next, next+1)
		t.free--
		t.held[w.source]++
		close(w.turn)
	}
}

// owed reports whether a reader of the source should hand its turn on: to a source
// that has two less, or none. Less of a difference would only go to and fro.
func (t *turns) owed(source string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.line {
		if has := t.held[w.source]; w.source != source && (has == 0 || has+1 < t.held[source]) {
			return true
		}
	}
	return false
}
