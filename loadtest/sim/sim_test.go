//go:build synctests

package sim

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// inMakeTest is how many seeds a make test has: 200 x 0.45 s of CPU are 90 s.
const inMakeTest = 200

// TestHouse is the simulation; see the package. Each core has a lane, whose seeds run
// one after another: parallel subtests keep what they held until all have ended.
func TestHouse(t *testing.T) {
	from, to := seeds(t, inMakeTest)
	lanes := min(uint64(runtime.GOMAXPROCS(0)), to-from)
	for lane := range lanes {
		t.Run(fmt.Sprint("lane=", lane), func(t *testing.T) {
			t.Parallel()
			for seed := from + lane; seed < to; seed += lanes {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { run(t, seed, walk) })
			}
		})
	}
}

// seeds are those to run: SEED alone; or SEEDS of them, or so few, beginning FROM.
func seeds(t *testing.T, few uint64) (from, to uint64) {
	number := func(name string) (uint64, bool) {
		text := os.Getenv(name)
		n, err := strconv.ParseUint(text, 10, 63)
		if text != "" && err != nil {
			t.Fatalf("%s=%s: %v", name, text, err)
		}
		return n, text != ""
	}
	if n, ok := number("SEED"); ok {
		return n, n + 1
	}
	first, _ := number("FROM")
	if n, ok := number("SEEDS"); ok {
		return first, first + n
	}
	return first, first + few
}
