package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// fault is one way in which the house may be wrong.
type fault string

const (
	lost        fault = "lost: completed, and its point is not there or cannot be read"
	different   fault = "false completed: its point is no version of the machine that it may be"
	stuck       fault = "stuck: asked for, and no terminal status"
	failed      fault = "failed before all attempts were cut, refused, or cancelled by nobody"
	twice       fault = "two terminal statuses that differ"
	untold      fault = "heard, and gone from the log"
	nameless    fault = "points that no completed names"
	damaged     fault = "verify --deep"
	notRestored fault = "restores that failed"
	staged      fault = "files left in staging beside its pool"
	sealed      fault = "packs left in the sealed area"
	slots       fault = "slots and rows that are not free at rest"
	snapshots   fault = "snapshots, leases and machines left at the vCenter"
	counted     fault = "ledger differs from the vault"
	held        fault = "records held or not done at rest"
	slow        fault = "starts that cost ever more"
)

var faults = []fault{lost, different, stuck, failed, twice, untold, nameless, damaged, notRestored, staged, sealed, slots, snapshots, counted, held, slow}

// told at most so many of each fault, in full.
const toldMost = 5

// tally is what a run counted.
type tally struct {
	mu    sync.Mutex
	say   func(format string, a ...any)
	began time.Time

	Seed      uint64         `json:"seed"`
	Kills     int            `json:"kills"`
	Moments   map[string]int `json:"moments"`
	Engine    int            `json:"engineKills"`
	Drained   int            `json:"drained"` // starts that a SIGTERM ended in order
	Backups   map[string]int `json:"backups"` // by status
	Spent     int            `json:"spent"`   // of the failed: all their attempts were cut
	Points    int            `json:"points"`
	Restored  int            `json:"restored"`
	Places    int64          `json:"places"`
	Ready     []float64      `json:"readySeconds"`
	CPU       []float64      `json:"readyCPUSeconds"`
	DrainS    []float64      `json:"drainSeconds"`
	Faults    map[fault]int  `json:"faults"`
	Seconds   float64        `json:"seconds"`
	VerifiedS float64        `json:"verifySeconds"`
}

func (t *tally) fault(f fault, format string, a ...any) {
	t.mu.Lock()
	t.Faults[f]++
	n := t.Faults[f]
	t.mu.Unlock()
	if n <= toldMost {
		name, _, _ := strings.Cut(string(f), ":")
		t.say("FAULT  %s: %s", name, fmt.Sprintf(format, a...))
	}
}

func (t *tally) add(n *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*n++
}

func (t *tally) moment(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Moments[name]++
}

// Zeros says whether nothing was wrong.
func (t *tally) Zeros() bool {
	for _, n := range t.Faults {
		if n > 0 {
			return false
		}
	}
	return true
}

func (t *tally) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(n any, what string) { fmt.Fprintf(w, "%v\t%s\n", n, what) }
	row(t.Kills, fmt.Sprintf("kills of the house (%s)", words(t.Moments)))
	row(t.Engine, "kills of the ledger's engine alone")
	row(t.Drained, "ends in order, by SIGTERM")
	for _, status := range []string{"completed", "cancelled", "failed", "refused"} {
		row(t.Backups[status], "backups "+status)
	}
	row(t.Spent, "of the failed because kills cut all five attempts")
	row(t.Points, "points restored from vault and key alone and compared")
	row(t.Restored, "restores through the service compared")
	row(t.Places, "places in the ledger and in the vault")
	first, last := tenths(t.Ready)
	row(fmt.Sprintf("%.1f s", first), fmt.Sprintf("until it was up, of the first tenth of starts; %.1f s of the last", last))
	first, last = tenths(t.CPU)
	row(fmt.Sprintf("%.1f s", first), fmt.Sprintf("of CPU that it cost, of the first tenth; %.1f s of the last", last))
	row(fmt.Sprintf("%.0f s", t.Seconds), fmt.Sprintf("in all, of which %.0f s to verify; seed %d", t.VerifiedS, t.Seed))
	row("", "")
	for _, f := range faults {
		row(t.Faults[f], string(f))
	}
	w.Flush()
}

func words(counts map[string]int) string {
	var all []string
	for _, m := range moments {
		if n := counts[m.name]; n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, m.name))
		}
	}
	return strings.Join(all, ", ")
}

// A start may cost twice of what the first ones did, and a second: the log of the
// index is read from its last flush on, and that is minutes old.
const (
	growth    = 2
	growthMin = 1.0
)

// grown says whether starts cost ever more, in CPU: what else this computer does is
// no matter.
func (t *tally) grown() {
	if first, last := tenths(t.CPU); len(t.CPU) >= 20 && last > growth*first+growthMin {
		t.fault(slow, "%.1f s of CPU for the first tenth, %.1f s for the last", first, last)
	}
}

// tenths are the means of the first and of the last tenth.
func tenths(all []float64) (first, last float64) {
	n := max(1, len(all)/10)
	if len(all) == 0 {
		return 0, 0
	}
	for i := range n {
		first += all[i] / float64(n)
		last += all[len(all)-1-i] / float64(n)
	}
	return first, last
}
