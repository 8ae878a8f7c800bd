// Package demo is the whole walk on three small machines of a vCenter, each step
// shown and checked: what it says was seen, and it fails where it was not. The
// vCenter is the demo's own, and behaves: see ops/standalone/vcenter.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Runner runs one command of the command line against the demo's data folder and
// returns what it printed; the demo does nothing that a person could not type.
type Runner func(ctx context.Context, args ...string) (out []byte, err error)

// Options of a demo.
type Options struct {
	Data  string // emptied first
	Out   io.Writer
	Log   *slog.Logger
	Blind bool
	Run   Runner
}

// Shards of the demo's vault: any two of six targets may be lost.
const (
	shardsK = 4
	shardsM = 2
)

// walk is a demo under way.
type walk struct {
	Options
	*fleet
	run   house.RunFile
	step  int
	began time.Time
}

// Run walks. Its error is the first thing that was not as it must be.
func Run(ctx context.Context, o Options) error {
	w := &walk{Options: o, began: time.Now()}
	if err := w.prepare(); err != nil {
		return err
	}
	defer w.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready, ended := make(chan house.RunFile, 1), make(chan error, 1)
	go func() {
		ended <- up.Up(ctx, up.Options{Data: w.data(), VCenter: w.door(), K: shardsK, M: shardsM, Say: io.Discard, Log: o.Log, Blind: o.Blind,
			Ready: func(r house.RunFile) { ready <- r }})
	}()
	select {
	case r := <-ready:
		w.run = r
		w.did("everything is up: broker at %s, %s, a vault of %d+%d shards on %d folders, metrics at %s", r.Kafka[0], ledgerWord(r), shardsK, shardsM, len(r.Vault), r.Metrics)
	case err := <-ended:
		return fmt.Errorf("up: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.live(ctx); err != nil {
		return err
	}
	stop()
	if err := <-ended; err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := w.cold(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	w.say("\nAll is equal, after %s. To go on from here: holdfast vcenter --dir %s, and beside it holdfast up --data %s",
		time.Since(w.began).Round(time.Second), w.fleet.Dir, w.data())
	return nil
}

func ledgerWord(r house.RunFile) string {
	if r.Ledger == nil {
		return "no ledger"
	}
	return "ClickHouse at " + r.Ledger.Addr
}

func (w *walk) data() string { return filepath.Join(w.Data, "data") }

// door is how the service gets into the vCenter.
func (w *walk) door() up.VCenter {
	return up.VCenter{URL: w.URL(), User: w.User, PasswordFile: filepath.Join(w.Data, "password"), Thumbprint: w.Thumbprint()}
}

func (w *walk) say(format string, a ...any) { fmt.Fprintf(w.Out, format+"\n", a...) }

// did says a step that was seen to be true.
func (w *walk) did(format string, a ...any) {
	w.step++
	w.say("✓ %d. %s  [%.0f s]", w.step, fmt.Sprintf(format, a...), time.Since(w.began).Seconds())
}

// prepare makes the machines on an empty folder. A folder that is not a demo's
// is not touched.
func (w *walk) prepare() error {
	mark := filepath.Join(w.Data, "demo")
	if entries, err := os.ReadDir(w.Data); err == nil && len(entries) > 0 {
		if _, err := os.Stat(mark); err != nil {
			return fmt.Errorf("%s is not empty and no demo's: choose another --data", w.Data)
		}
		if err := os.RemoveAll(w.Data); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(w.Data, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return err
	}
	var err error
	if w.fleet, err = openFleet(w.Data); err != nil {
		return fmt.Errorf("make machines: %w", err)
	}
	if err := os.WriteFile(w.door().PasswordFile, []byte(w.Password+"\n"), 0o600); err != nil {
		return err
	}
	w.did("a vCenter at %s with three machines that run, each on a 256 MiB disk with an ext4 file system made of this computer's files", w.URL())
	return nil
}
