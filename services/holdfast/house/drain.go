package house

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// drain bounds a stop: stages that were told to end are waited for, and those that
// hang, as in a write to a share that is gone, are left to the end of the process.
type drain struct {
	grace time.Duration

	mu     sync.Mutex
	atWork map[string]bool
}

func newDrain(grace time.Duration) *drain { return &drain{grace: grace, atWork: map[string]bool{}} }

// run is f, known by a name while it works.
func (d *drain) run(name string, f func() error) func() error {
	d.mark(name, true)
	return func() error {
		defer d.mark(name, false)
		return f()
	}
}

func (d *drain) mark(name string, atWork bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if delete(d.atWork, name); atWork {
		d.atWork[name] = true
	}
}

// wait returns what all does, or an error when that takes longer than the grace
// after ctx has ended.
func (d *drain) wait(ctx context.Context, all func() error) error {
	done := make(chan error, 1)
	go func() { done <- all() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(d.grace)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Errorf("told to stop, and after the grace of %s still at work: %s; it ends now, and they do again what was not done",
		d.grace, strings.Join(slices.Sorted(maps.Keys(d.atWork)), ", "))
}
