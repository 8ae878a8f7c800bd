package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// results are figures by tool and step.
type results map[string]map[string]figure

var steps = []string{"full", "second", "restore"}

// table writes what each step of each tool cost.
func (r results) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "step\ttool\twall s\tCPU s\tof it engine\tpeak RSS MB\tMB added\twith parity\tinputs cached")
	for _, step := range steps {
		for _, name := range slices.Sorted(maps.Keys(r)) {
			if f, ok := r[name][step]; ok {
				fmt.Fprintf(t, "%s\t%s\t%.1f\t%.1f\t%.1f\t%d\t%.0f\t%.0f\t%s\n", step, name, f.Wall, f.CPU, f.Engine, f.RSS>>20,
					mb(r.added(name, step)), mb(r.parity(name, step)), f.Cached)
			}
		}
	}
	t.Flush()
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// added is what a step brought into the repository, before parity.
func (r results) added(name, step string) int64 {
	if step == "second" {
		return r[name]["second"].Bytes - r[name]["full"].Bytes
	}
	return r[name][step].Bytes
}

func (r results) parity(name, step string) int64 {
	if step == "second" {
		return r[name]["second"].Parity - r[name]["full"].Parity
	}
	return r[name][step].Parity
}
