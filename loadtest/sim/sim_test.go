//go:build synctests

package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestHouse is the simulation; see the package.
func TestHouse(t *testing.T) {
	from, to := seeds(t, 8)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			run(t, seed, walk)
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
