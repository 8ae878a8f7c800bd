package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// world is the house under load and all around it.
type world struct {
	options
	report *report
	house  *living
	vc     *hypervisor                                // nil: the source is synthetic
	ends   []map[schemas.UUID]schemas.BackupCompleted // of each round, by backup
	closed sync.Once
}

func newWorld(ctx context.Context, o options) (*world, error) {
	if _, err := os.Stat(o.data()); err == nil {
		return nil, fmt.Errorf("%s is there already: choose another -work", o.data())
	}
	w := &world{options: o, report: newReport(o)}
	if err := w.open(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(w.data(), 0o755); err != nil {
		return err
	}
	source := w.made()
	if w.source == "vcenter" {
		if w.vc, err = w.openHypervisor(ctx); err != nil {
			return err
		}
		if source, err = w.vc.config(); err != nil {
			return err
		}
	}
	if err := w.turn(ctx, 0); err != nil {
		return err
	}
	if _, err := w.configure("", source); err != nil {
		return err
	}
	w.options.behind = source
	w.house, err = w.start(ctx)
	return err
}

// turn moves the machines to a version.
func (w *world) turn(ctx context.Context, version int) error {
	if w.vc != nil {
		return w.vc.turn(ctx, version)
	}
	return w.options.turn(version)
}

func (w *world) say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, a...))
}

// close ends all that lives, and may be called again.
func (w *world) close() {
	w.closed.Do(func() {
		if w.house != nil {
			if err := w.house.stop(); err != nil {
				w.say("%v", err)
			}
		}
		if w.vc != nil {
			if err := w.vc.vc.Close(); err != nil {
				w.say("stop the vCenter: %v", err)
			}
		}
	})
}

// clean removes what the run made.
func (w *world) clean() error {
	if w.staging != "" {
		for _, below := range []string{"leases", "pool", "sealed"} {
			if err := os.RemoveAll(filepath.Join(w.staging, below)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(w.work)
}

// load runs the rounds, and then looks at what they left.
func (w *world) load(ctx context.Context) error {
	w.say("%d machines of %v, %v used; work in %s", w.machines, w.size, w.used, w.work)
	for no := range w.rounds {
		if err := w.round(ctx, no); err != nil {
			return err
		}
	}
	if err := w.ledger(ctx); err != nil {
		return err
	}
	if err := w.again(ctx); err != nil {
		return err
	}
	return w.verify(ctx)
}

// again stops the house in order and starts it once more: it reads its logs then.
func (w *world) again(ctx context.Context) error {
	began := time.Now()
	if err := w.house.stop(); err != nil {
		w.report.fault("stop: %v", err)
	}
	w.report.Start.StopSeconds = time.Since(began).Seconds()
	l, err := w.start(ctx)
	if err != nil {
		return err
	}
	w.house = l
	s := &w.report.Start
	s.Seconds, s.CPU, s.Peak = l.took.Seconds(), l.spentBy(), map[string]int64{}
	l.each(func(name string, pid int) { s.Peak[name] = max(s.Peak[name], peak(pid)) })
	return nil
}
