// Command peers runs the same disks through holdfast, restic and borg in one
// run and prints their ratios: full, second, restore of one.
//
//	peers -disks DIR -work DIR [-holdfast bin/holdfast]
//
// DIR has day1/*.raw and day2/*.raw, of equal names. Each tool's inputs are read
// once before each of its runs, so that the page cache is warm for all; CPU is
// that of all processes of a tool, the broker and the ledger included.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// figure is what one step of one tool cost.
type figure struct {
	Wall   float64 `json:"wall_s"`
	CPU    float64 `json:"cpu_s"`
	RSS    int64   `json:"peak_rss_bytes"` // of the largest process
	Bytes  int64   `json:"bytes"`          // in the repository after, before parity
	Parity int64   `json:"bytes_with_parity"`
}

// tool is one way to back up a folder of machines.
type tool interface {
	Name() string
	Full(ctx context.Context) (figure, error)
	Second(ctx context.Context) (figure, error)
	// Restore writes the disk of one machine to a path that it returns.
	Restore(ctx context.Context, machine string) (figure, string, error)
	Close() error
}

func main() {
	disks := flag.String("disks", "", "folder with day1/*.raw and day2/*.raw")
	work := flag.String("work", "", "folder to work in, emptied")
	binary := flag.String("holdfast", "bin/holdfast", "the binary to measure")
	only := flag.String("only", "holdfast,restic,borg", "tools to run")
	out := flag.String("json", "", "write the figures there, too")
	flag.Parse()
	if *disks == "" || *work == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *disks, *work, *binary, *out, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

const restored = "db" // the machine that is restored

func run(ctx context.Context, disks, work, binary, out string, only []string) error {
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	figures := map[string]map[string]figure{}
	for _, name := range only {
		if err := os.MkdirAll(filepath.Join(work, name), 0o755); err != nil {
			return err
		}
		m, err := layOut(disks, filepath.Join(work, name, "machines"))
		if err != nil {
			return err
		}
		t, err := open(ctx, name, filepath.Join(work, name), binary, m)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got, err := walk(ctx, t, m)
		if err := closing(t, err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		figures[name] = got
		if err := os.RemoveAll(filepath.Join(work, name)); err != nil {
			return err
		}
	}
	print(os.Stdout, figures)
	if out == "" {
		return nil
	}
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

func closing(t tool, err error) error {
	if e := t.Close(); err == nil {
		return e
	}
	return err
}

func open(ctx context.Context, name, dir, binary string, m *machines) (tool, error) {
	switch name {
	case "holdfast":
		return openHoldfast(ctx, dir, binary, m)
	case "restic":
		return openRestic(ctx, dir, m)
	case "borg":
		return openBorg(ctx, dir, m)
	}
	return nil, fmt.Errorf("is not known")
}

func walk(ctx context.Context, t tool, m *machines) (map[string]figure, error) {
	got := map[string]figure{}
	step := func(name string, do func() (figure, error)) error {
		if err := m.warm(); err != nil {
			return err
		}
		f, err := do()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got[name] = f
		fmt.Fprintf(os.Stderr, "%-8s %-7s wall %6.1f s  CPU %6.1f s  RSS %4d MB  %5d MB (with parity %d)  cached %s\n", t.Name(), name,
			f.Wall, f.CPU, f.RSS>>20, f.Bytes/1e6, f.Parity/1e6, cached())
		return nil
	}
	if err := step("full", func() (figure, error) { return t.Full(ctx) }); err != nil {
		return nil, err
	}
	if err := m.nextDay(); err != nil {
		return nil, err
	}
	if err := step("second", func() (figure, error) { return t.Second(ctx) }); err != nil {
		return nil, err
	}
	var file string
	err := step("restore", func() (f figure, err error) {
		f, file, err = t.Restore(ctx, restored)
		return f, err
	})
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "cmp", file, m.disk(restored)).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the restored disk differs: %s", out)
	}
	return got, nil
}

// print writes the figures and, for each, holdfast's ratio to the better peer.
func print(w io.Writer, all map[string]map[string]figure) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "step\ttool\twall s\tCPU s\tpeak RSS MB\tMB added\twith parity\twall / best peer\tCPU / best peer\tadded / restic")
	for _, step := range []string{"full", "second", "restore"} {
		for _, name := range []string{"holdfast", "restic", "borg"} {
			f, ok := all[name][step]
			if !ok {
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%.1f\t%.1f\t%d\t%.0f\t%.0f\t", step, name, f.Wall, f.CPU, f.RSS>>20, mb(added(all[name], step)), mb(parity(all[name], step)))
			if name == "holdfast" {
				fmt.Fprintf(t, "%s\t%s\t%s", ratio(f.Wall, best(all, step, func(f figure) float64 { return f.Wall })),
					ratio(f.CPU, best(all, step, func(f figure) float64 { return f.CPU })),
					ratio(mb(added(all[name], step)), mb(added(all["restic"], step))))
			}
			fmt.Fprintln(t)
		}
	}
	t.Flush()
}

func mb(n int64) float64 { return float64(n) / 1e6 }

func added(of map[string]figure, step string) int64 {
	if step == "second" {
		return of["second"].Bytes - of["full"].Bytes
	}
	return of[step].Bytes
}

func parity(of map[string]figure, step string) int64 {
	if step == "second" {
		return of["second"].Parity - of["full"].Parity
	}
	return of[step].Parity
}

func best(all map[string]map[string]figure, step string, of func(figure) float64) float64 {
	var v []float64
	for name, steps := range all {
		if f, ok := steps[step]; ok && name != "holdfast" {
			v = append(v, of(f))
		}
	}
	if len(v) == 0 {
		return 0
	}
	return slices.Min(v)
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}
