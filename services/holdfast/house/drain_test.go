//go:build synctests

package house

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A stop takes as long as the slowest stage, or the grace: then it ends, and names
// who hangs and nobody else.
func TestAStopEndsWithinItsGrace(t *testing.T) {
	for _, c := range []struct {
		slow  time.Duration
		after time.Duration
		want  string
	}{{3 * time.Second, 3 * time.Second, ""}, {time.Hour, 30 * time.Second, "grace of 30s still at work: slow; "}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDrain(30 * time.Second)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 2)
			for name, takes := range map[string]time.Duration{"quick": time.Second, "slow": c.slow} {
				f := d.run(name, func() error { <-ctx.Done(); time.Sleep(takes); return nil })
				go func() { ended <- f() }()
			}
			time.AfterFunc(time.Hour, stop) // a long life is no long stop
			begun := time.Now()
			err := d.wait(ctx, func() error { return errors.Join(<-ended, <-ended) })
			if took := time.Since(begun) - time.Hour; took != c.after {
				t.Errorf("the stop took %s, want %s", took, c.after)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			time.Sleep(c.slow)
		})
	}
}
