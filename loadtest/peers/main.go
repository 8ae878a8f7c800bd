// Command peers runs the same disks through holdfast, restic and borg in one
// run and prints their ratios, beside what they must be: full, second, restore of one.
//
//	peers -disks DIR -work DIR [-holdfast bin/holdfast] [-straight bin/straight]
//
// DIR has day1/*.raw and day2/*.raw, of equal names. Each tool's inputs are read
// once before each of its runs, so that the page cache is warm for all, and how much
// of them lies there is printed before and after; CPU is that of all processes of a
// tool, the broker and the ledger included. A name may have a compression behind it:
// holdfast:minlz. straight is the same work without Kafka, ledger and staging; it
// tells what those cost.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// figure is what one step of one tool cost.
type figure struct {
	Wall   float64 `json:"wall_s"`
	CPU    float64 `json:"cpu_s"`
	RSS    int64   `json:"peak_rss_bytes"` // of the largest process
	Bytes  int64   `json:"bytes"`          // in the repository after, before parity
	Parity int64   `json:"bytes_with_parity"`
	Engine float64 `json:"engine_cpu_s"` // of CPU, what the ledger's engine spent
	Cached string  `json:"inputs_cached"`
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

// errNone says that a tool has no such step.
var errNone = errors.New("none")

func main() {
	disks := flag.String("disks", "", "folder with day1/*.raw and day2/*.raw")
	work := flag.String("work", "", "folder to work in, emptied")
	binary := flag.String("holdfast", "bin/holdfast", "the binary to measure")
	straight := flag.String("straight", "bin/straight", "the straight-line program")
	only := flag.String("only", "holdfast,holdfast:minlz,holdfast:zstd-default,straight,straight:minlz,restic,borg", "tools to run, in this order")
	out := flag.String("json", "", "write the figures there, too")
	flag.Parse()
	if *disks == "" || *work == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *disks, *work, binaries{*binary, *straight}, *out, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

const restored = "db" // the machine that is restored

// binaries are the programs of ours that are measured.
type binaries struct{ holdfast, straight string }

func run(ctx context.Context, disks, work string, ours binaries, out string, only []string) error {
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	figures := results{}
	for _, name := range only {
		if err := os.MkdirAll(filepath.Join(work, "tool"), 0o755); err != nil {
			return err
		}
		m, err := layOut(disks, filepath.Join(work, "tool", "machines"))
		if err != nil {
			return err
		}
		t, err := open(ctx, name, filepath.Join(work, "tool"), ours, m)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got, err := walk(ctx, name, t, m)
		if err := closing(t, err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		figures[name] = got
		if err := os.RemoveAll(filepath.Join(work, "tool")); err != nil {
			return err
		}
	}
	figures.table(os.Stdout)
	ratios := figures.ratios()
	ratios.table(os.Stdout)
	if out == "" {
		return nil
	}
	b, err := json.MarshalIndent(map[string]any{"figures": figures, "ratios": ratios}, "", "  ")
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

func open(ctx context.Context, name, dir string, ours binaries, m *machines) (tool, error) {
	kind, compression, _ := strings.Cut(name, ":")
	switch kind {
	case "holdfast":
		return openHoldfast(ctx, dir, ours.holdfast, compression, m)
	case "straight":
		return &straight{ours.straight, dir, compression, m, nil}, nil
	case "restic":
		return openRestic(ctx, dir, m)
	case "borg":
		return openBorg(ctx, dir, m)
	}
	return nil, fmt.Errorf("is not known")
}

// walk is a tool's steps. One that has no restore of its own ends before it.
func walk(ctx context.Context, name string, t tool, m *machines) (map[string]figure, error) {
	got := map[string]figure{}
	step := func(step string, do func() (figure, error)) error {
		if err := m.warm(); err != nil {
			return err
		}
		before := m.resident()
		f, err := do()
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		f.Cached = before + " before, " + m.resident() + " after"
		got[step] = f
		fmt.Fprintf(os.Stderr, "%-16s %-7s wall %6.1f s  CPU %6.1f s (engine %4.1f)  RSS %4d MB  %5d MB (with parity %d)  inputs cached %s; page cache %s\n", name, step,
			f.Wall, f.CPU, f.Engine, f.RSS>>20, f.Bytes/1e6, f.Parity/1e6, f.Cached, cached())
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
	if errors.Is(err, errNone) {
		return got, nil
	}
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "cmp", file, m.disk(restored)).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the restored disk differs: %s", out)
	}
	return got, nil
}
