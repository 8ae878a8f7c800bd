// Package rate bounds how many bytes a second come from a source or go to a
// target: by a plan of windows, without bursts, over all processes that share it.
//
// golang.org/x/time/rate does not fit: it takes no more at once than its bucket
// holds, which would be the burst that is not wanted; it reserves ahead, so that a
// change of rate does not reach who waits; and what a waiter who gives up had taken
// is lost, which under a low limit is all there was. Here a read or a put passes
// whole when what went before it is paid off: over any time no more than rate × time
// and one of them.
package rate

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is bytes a second. 0 is no limit.
type Rate int64

const (
	// Least is the lowest rate: below it a page of 4 MiB takes more than a minute, and
	// what waits would look like what hangs.
	Least Rate = 64 << 10
	most  Rate = 1 << 50
)

var units = []struct {
	name string
	size float64
}{{"TiB/s", 1 << 40}, {"GiB/s", 1 << 30}, {"MiB/s", 1 << 20}, {"KiB/s", 1 << 10}, {"Gbit/s", 1e9 / 8}, {"Mbit/s", 1e6 / 8}, {"kbit/s", 1e3 / 8}}

// Parse reads a rate: 20MiB/s, 100Mbit/s (bits, decimal, as lines are sold), none.
// MB/s is refused rather than guessed.
func Parse(s string) (Rate, error) {
	text := strings.TrimSpace(s)
	if text == "none" || text == "0" {
		return 0, nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 40)
		if err != nil {
			break
		}
		r := Rate(min(float64(n)*u.size, float64(most)))
		switch {
		case n == 0:
			return 0, nil
		case r < Least:
			return 0, fmt.Errorf("%q is below the least, %v; none is no limit", s, Least)
		}
		return r, nil
	}
	return 0, fmt.Errorf("%q is not a rate: write 20MiB/s (KiB, GiB), 100Mbit/s (kbit, Gbit) or none", s)
}

// String is the shortest exact form: what Parse reads, where it came from there.
func (r Rate) String() string {
	if r == 0 {
		return "none"
	}
	for _, u := range units {
		if n := uint64(float64(r) / u.size); n > 0 && n < 1<<40 && Rate(float64(n)*u.size) == r {
			return fmt.Sprint(n, u.name)
		}
	}
	return fmt.Sprint(int64(r), "B/s")
}
