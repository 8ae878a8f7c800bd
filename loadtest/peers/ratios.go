package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// ratio is a figure of ours over that of others in the same run, and what it must be.
type ratio struct {
	What  string  `json:"what"`
	Ours  float64 `json:"ours"`
	Of    float64 `json:"of"`
	Ratio float64 `json:"ratio"`
	Must  float64 `json:"must"`
	Holds bool    `json:"holds"`
}

type ratios []ratio

// peers are the tools of others. Which of them is the better is asked of each figure.
var peers = []string{"restic", "borg"}

// ratios compares what was run. Where a tool was left out, so are its ratios.
func (r results) ratios() (all ratios) {
	wall := func(f figure) float64 { return f.Wall }
	cpu := func(f figure) float64 { return f.CPU }
	for _, x := range []struct {
		what, tool, step string
		others           []string
		of               func(figure) float64
		must             float64
	}{
		{"full, CPU / better peer", "holdfast", "full", peers, cpu, 0.7},
		{"full, wall / better peer", "holdfast", "full", peers, wall, 0.6},
		{"full with minlz, CPU / better peer", "holdfast:minlz", "full", peers, cpu, 0.45},
		{"second, CPU / better peer", "holdfast", "second", peers, cpu, 0.2},
		{"second, wall / better peer", "holdfast", "second", peers, wall, 0.25},
		{"restore, CPU / restic", "holdfast", "restore", []string{"restic"}, cpu, 0.5},
		{"restore, wall / restic", "holdfast", "restore", []string{"restic"}, wall, 1},
		{"full, CPU / straight", "holdfast", "full", []string{"straight"}, cpu, 1.5},
		{"second, CPU / straight", "holdfast", "second", []string{"straight"}, cpu, 1.5},
		{"full with minlz, CPU / straight", "holdfast:minlz", "full", []string{"straight:minlz"}, cpu, 1.5},
	} {
		ours, ok := r[x.tool][x.step]
		best := r.best(x.others, x.step, x.of)
		if ok && best > 0 {
			all = all.add(x.what, x.of(ours), best, x.must)
		}
	}
	if ours, theirs := r.added("holdfast", "second"), r.added("restic", "second"); ours > 0 && theirs > 0 {
		all = all.add("second, MB added before parity / restic", mb(ours), mb(theirs), 0.22)
	}
	return all
}

func (r results) best(tools []string, step string, of func(figure) float64) (best float64) {
	for _, name := range tools {
		if f, ok := r[name][step]; ok && (best == 0 || of(f) < best) {
			best = of(f)
		}
	}
	return best
}

func (all ratios) add(what string, ours, of, must float64) ratios {
	return append(all, ratio{what, ours, of, ours / of, must, ours/of <= must})
}

func (all ratios) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ratio\tours\tof\tis\tmust be\t")
	for _, r := range all {
		says := "missed"
		if r.Holds {
			says = "holds"
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t<= %.2f\t%s\n", r.What, r.Ours, r.Of, r.Ratio, r.Must, says)
	}
	t.Flush()
}
