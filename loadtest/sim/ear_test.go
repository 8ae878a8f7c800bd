//go:build synctests

package sim

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

// ear hears what stages say of themselves, and keeps the last of it.
type ear struct {
	w *world

	mu    sync.Mutex
	lines []string
}

const linesKept = 60

// loud: all that the stages say goes to the terminal, as it is said.
var loud = os.Getenv("LOUD") != ""

func (e *ear) Write(b []byte) (int, error) {
	if loud {
		os.Stderr.Write(b)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lines = append(e.lines, string(b)); len(e.lines) > 2*linesKept {
		e.lines = append(e.lines[:0], e.lines[linesKept:]...)
	}
	return len(b), nil
}

func (e *ear) Begin(ctx context.Context, _ stage.Note) context.Context { return ctx }
func (e *ear) End(_ context.Context, n stage.Note)                     { e.Tell(n) }
func (e *ear) Tell(n stage.Note) {
	if loud && n.Kind != stage.Done && n.Kind != stage.Standing && n.Kind != stage.Committed {
		fmt.Fprintf(os.Stderr, "%+v\n", n)
	}
}

func (e *ear) last() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.lines[max(0, len(e.lines)-linesKept):]...)
}
