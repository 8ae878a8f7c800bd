// Command soak kills the one-machine mode with SIGKILL, again and again, while
// machines are backed up, changed and restored, and then looks whether anything
// was lost, told falsely, or left behind.
//
//	soak -kills 100 [-seed N] [-holdfast bin/holdfast] [-work DIR] [-keep]
//
// The house is `holdfast up` as a process of its own: broker, ClickHouse engine,
// every stage, a vault in folders. This program is all that lives on: the guests
// that write to the machines' disks, a folder of disk images, the demo vCenter,
// and those who ask. What a disk holds is a function of machine and version (see
// guest), so each point that the vault has at the end is restored and held against
// the version of the machine that it must have: for images that which stood still
// from the request to the end; for the vCenter, whose guests write all the time,
// any one version between the two.
//
// The seed chooses load and moments; times are the machine's, so it does not
// repeat a run to the letter. Exit 0 means that every count of faults is zero.
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
)

// options of a run.
type options struct {
	kills   int
	seed    uint64
	limit   time.Duration
	binary  string
	work    string
	keep    bool
	mib     int
	blind   bool
	vcenter bool
	format  string
}

func main() {
	o := options{}
	flag.IntVar(&o.kills, "kills", 100, "how often the house is killed")
	flag.DurationVar(&o.limit, "for", 0, "kill for so long at most; 0: until all kills are done")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of load and moments")
	flag.StringVar(&o.binary, "holdfast", "bin/holdfast", "the binary")
	flag.StringVar(&o.work, "work", "", "an empty folder to work in; default a new one")
	flag.BoolVar(&o.keep, "keep", false, "leave the folder, also when all is well")
	flag.IntVar(&o.mib, "mib", 40, "disks of each machine, in MiB")
	flag.BoolVar(&o.blind, "no-ledger", false, "without ClickHouse")
	flag.BoolVar(&o.vcenter, "vcenter", true, "with a demo vCenter beside the folder of images")
	flag.StringVar(&o.format, "o", "table", "how the counts are printed: table or json")
	flag.Parse()
	if flag.NArg() > 0 || o.kills < 0 || o.mib < 2 || o.format != "table" && o.format != "json" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	if o.format == "json" {
		json.NewEncoder(os.Stdout).Encode(t)
	} else {
		t.print(os.Stdout)
	}
	if !t.Zeros() {
		os.Exit(1)
	}
}

// run is one soak. Its error is that it could not be carried out; what the house
// did wrong is in the tally.
func run(ctx context.Context, o options) (t *tally, err error) {
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, err
	}
	if o.work == "" {
		if o.work, err = os.MkdirTemp("", "holdfast-soak-"); err != nil {
			return nil, err
		}
	} else if err = os.MkdirAll(o.work, 0o755); err != nil {
		return nil, err
	}
	if o.work, err = filepath.Abs(o.work); err != nil {
		return nil, err
	}
	w, err := newWorld(o)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.say("seed %d, %d kills, work in %s", o.seed, o.kills, o.work)
	if err := w.soak(ctx); err != nil {
		return nil, fmt.Errorf("%w; what is there is left in %s", err, o.work)
	}
	if o.keep || !w.tally.Zeros() {
		w.say("what is there is left in %s", o.work)
		return w.tally, nil
	}
	w.close()
	return w.tally, os.RemoveAll(o.work)
}
