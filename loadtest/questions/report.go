package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// report is all that was measured.
type report struct {
	Fleet  fleet            `json:"fleet"`
	Bound  float64          `json:"bound_ms"`
	Fill   *filling         `json:"fill,omitempty"`
	Tables []map[string]any `json:"tables"`
	Cold   []figure         `json:"cold,omitempty"`
	Warm   []figure         `json:"warm"`
	During []figure         `json:"during_inserts,omitempty"`
	Rate   float64          `json:"insert_rows_per_s,omitempty"` // while During was asked
	Behind float64          `json:"insert_behind_s,omitempty"`   // most, from when rows were due
	Peak   int64            `json:"engine_peak_rss_bytes"`
}

// filling is what it took to write the fleet.
type filling struct {
	Places  uint64  `json:"places"`
	Seconds float64 `json:"wall_s"`
	CPU     float64 `json:"engine_cpu_s"` // merges included
}

// slow are figures above the bound, of asks that people wait for: a cold cache is
// told, and not judged.
func (r *report) slow() (all []string) {
	for what, figures := range map[string][]figure{"warm": r.Warm, "during inserts": r.During} {
		for _, f := range figures {
			if f.P50 > r.Bound {
				all = append(all, fmt.Sprintf("%s %s, %s: p50 %.0f ms, want at most %.0f", f.Name, f.Of, what, f.P50, r.Bound))
			}
		}
	}
	slices.Sort(all)
	return all
}

func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	if r.Fill != nil {
		fmt.Fprintf(out, "%d places filled in %.0f s: %.0f/s, engine CPU %.2f s a million rows with their events and merges\n",
			r.Fill.Places, r.Fill.Seconds, float64(r.Fill.Places)/r.Fill.Seconds, r.Fill.CPU/float64(r.Fill.Places)*1e6)
	}
	fmt.Fprintln(w, "table\trows\tMB\tbytes a row\tindex MB\tparts\t")
	var all float64
	for _, t := range r.Tables {
		all += mega(t["bytes"])
		fmt.Fprintf(w, "%v\t%v\t%.1f\t%v\t%.1f\t%v\t\n", t["table"], t["rows"], mega(t["bytes"]), t["bytes_per_row"], mega(t["index_bytes"]), t["parts"])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%.0f MB in all\n", all)
	fmt.Fprintf(out, "\nms; engine's peak memory %d MB; while %.0f rows/s came in, at most %.1f s behind\n", r.Peak>>20, r.Rate, r.Behind)
	fmt.Fprintln(w, "question\tof\tp50\tp95\tmax\tCPU\tcold p50\tmax\tinserting p50\tp95\trows read\tMB read\tMB memory\tanswer\t")
	for i, f := range r.Warm {
		var cold, during figure
		if len(r.Cold) > 0 {
			cold = r.Cold[i]
		}
		if len(r.During) > 0 {
			during = r.During[i]
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%.1f\t%.1f\t%d\t\n", f.Name, f.Of, f.P50, f.P95, f.Max, f.CPU, cold.P50, cold.Max, during.P50, during.P95,
			f.Rows, float64(f.Read)/1e6, float64(f.Memory)/1e6, f.Answer)
	}
	return w.Flush()
}

func mega(v any) float64 {
	n, _ := v.(uint64)
	return float64(n) / 1e6
}

func (r *report) save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// rowsOf makes of an answer what JSON shows.
func rowsOf(a ledger.Answer) (all []map[string]any) {
	for _, row := range a.Rows {
		m := map[string]any{}
		for i, c := range a.Columns {
			m[c] = row[i]
		}
		all = append(all, m)
	}
	return all
}
