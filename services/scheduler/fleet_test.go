package scheduler

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Goal: a region of 20,000 machines at four vCenters keeps its promises for a week,
// or says by which limit each was broken: no limit is passed as the sources count
// it, no machine starves, every backup comes to one end.
// Method: the pure state, driven by models of exporter, auditor and policies in
// virtual time, event by event. It dies at random moments, in the middle of what it
// tells and writes, and begins again from its rows. Every ten minutes each machine
// that waits must wait for something that has a name; misses are counted by those.
//
// The small form runs with the tests; make fleet is the whole. FLEET, DAYS and SEED
// choose another.
func TestFleet(t *testing.T) {
	number := func(name string, else_ int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return else_
	}
	began := time.Now()
	f := newFleet(t, number("FLEET", 800), number("DAYS", 4), uint64(number("SEED", 1)))
	f.run()
	f.report(time.Since(began))
}
