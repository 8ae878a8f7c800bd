// Command load stands up machines by the thousand, has them backed up, and says
// what it took.
//
//	load -machines 1000 -used 1GiB -change 0.02 [-split] [-o json]
//
// The house is `holdfast up` as a process of its own; with -split, each stage and
// the broker is one, as a region runs them. The machines are of a synthetic source
// (libs/source/synthetic), so no disk is needed for them, and what a point must
// hold can be computed; with -source vcenter they are in the demo vCenter, which
// keeps what they use on disk. The first round backs all of them up in full; each later one
// moves the source to its next version and backs up what that changed. A round is
// one event on backups.requested, and is over when as many backups have ended and
// the house has nothing left to do.
//
// After the rounds a sample of points is restored from vault and key alone and held
// against the source's function, the ledger's counts against what was told, and the
// house is started once more, which reads its logs.
//
// Exit 0 means: every backup completed inside its window, and nothing differs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
)

// options of a run.
type options struct {
	machines, images, rounds, slots, sample int
	size, used, window                      conf.Size
	common, change, alike                   float64
	seed                                    uint64
	k, m                                    int
	binary, work, staging, format           string
	source                                  string
	behind                                  string // the source's section of the configuration
	keep, blind, split                      bool
	patience                                time.Duration
}

func flags() (o options) {
	o.size, o.used, o.window = 1<<30, 64<<20, 64<<20
	flag.IntVar(&o.machines, "machines", 50, "how many there are")
	size(&o.size, "size", "of each machine's disk")
	size(&o.used, "used", "of it, what was ever written")
	flag.IntVar(&o.images, "images", 6, "that the machines are clones of")
	flag.Float64Var(&o.common, "common", 1, "share of what is used that all clones of an image have")
	flag.Float64Var(&o.change, "change", 0.02, "share of what is used that a version writes")
	flag.Float64Var(&o.alike, "alike", 0, "share of those writes that all clones of an image have")
	flag.Uint64Var(&o.seed, "seed", 1, "of what the disks hold")
	flag.IntVar(&o.rounds, "rounds", 2, "the first is full, the others incremental")
	flag.IntVar(&o.slots, "slots", 16, "machines read at once: what staging holds, in windows")
	size(&o.window, "window", "of staging, that one machine has in flight at most")
	flag.IntVar(&o.k, "k", 4, "data shards of the vault")
	flag.IntVar(&o.m, "m", 2, "parity shards")
	flag.IntVar(&o.sample, "sample", 3, "points of the last round that are restored and compared")
	flag.StringVar(&o.source, "source", "synthetic", "where they are: synthetic, or vcenter, the demo one, which keeps their disks")
	flag.BoolVar(&o.split, "split", false, "one process a stage, and one for the broker")
	flag.BoolVar(&o.blind, "no-ledger", false, "without ClickHouse")
	flag.StringVar(&o.binary, "holdfast", "bin/holdfast", "the binary")
	flag.StringVar(&o.work, "work", "", "an empty folder to work in; default a new one")
	flag.StringVar(&o.staging, "staging", "", "a folder for staging; default below -work")
	flag.BoolVar(&o.keep, "keep", false, "leave the folder, also when all is well")
	flag.DurationVar(&o.patience, "patience", 20*time.Minute, "how long no backup may end before it is called stuck")
	flag.StringVar(&o.format, "o", "table", "how the figures are printed: table or json")
	flag.Parse()
	return o
}

func size(v *conf.Size, name, help string) {
	flag.Func(name, fmt.Sprintf("%s (default %v)", help, *v), func(s string) (err error) {
		*v, err = conf.ParseSize(s)
		return err
	})
}

func main() {
	o := flags()
	if flag.NArg() > 0 || o.machines < 1 || o.rounds < 1 || o.slots < 1 || o.k < 1 || o.m < 0 || o.sample < 0 || o.source != "synthetic" && o.source != "vcenter" || o.format != "table" && o.format != "json" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, o)
	if r != nil {
		if o.format == "json" {
			json.NewEncoder(os.Stdout).Encode(r)
		} else {
			r.print(os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if !r.right() {
		os.Exit(1)
	}
}

// run is one load. Its error is that it could not be carried out; what the house did
// wrong is in the report.
func run(ctx context.Context, o options) (r *report, err error) {
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, err
	}
	if o.work == "" {
		if o.work, err = os.MkdirTemp("", "holdfast-load-"); err != nil {
			return nil, err
		}
	} else if err = os.MkdirAll(o.work, 0o755); err != nil {
		return nil, err
	}
	if o.work, err = filepath.Abs(o.work); err != nil {
		return nil, err
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.load(ctx); err != nil {
		return w.report, fmt.Errorf("%w; what is there is left in %s", err, o.work)
	}
	if o.keep || !w.report.right() {
		w.say("what is there is left in %s", o.work)
		return w.report, nil
	}
	w.close()
	return w.report, w.clean()
}
