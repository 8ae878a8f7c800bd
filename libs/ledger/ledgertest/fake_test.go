package ledgertest

import (
	"errors"
	"testing"
	"time"
)

func TestFake(t *testing.T) {
	f := &Fake{Slow: time.Microsecond}
	Run(t, f, f.Count)
}

// A fault is an error, whatever is there after it; the same token mends all.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		there int
	}{{Lost, 0}, {Ghost, 10}, {Torn, 5}} {
		fault := c.fault
		f := &Fake{Weather: func() Fault { return fault }}
		rows := Events("t", 0, 10)
		for i := range rows[5:] {
			rows[5+i].AtMs += 24 * time.Hour.Milliseconds()
		}
		if err := f.Insert(t.Context(), "x", rows); !errors.Is(err, ErrFault) {
			t.Errorf("fault %d: %v", c.fault, err)
		}
		if n := f.Count("stage_event"); n != c.there {
			t.Errorf("fault %d left %d rows, want %d", c.fault, n, c.there)
		}
		fault = None
		if err := f.Insert(t.Context(), "x", rows); err != nil || f.Count("stage_event") != 10 {
			t.Errorf("fault %d: the repeat left %d rows, %v", c.fault, f.Count("stage_event"), err)
		}
	}
}
