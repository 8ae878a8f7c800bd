// Command killing kills the one-machine mode with SIGKILL in the middle of
// backups, starts it again, and looks whether every job ends completed without
// help and restores equal.
//
//	killing -times 20 [-holdfast bin/holdfast] [-work DIR] [-mib 96]
//
// Each round asks for a backup of all machines, kills everything after a random
// time (the engine of the ledger dies with its parent), starts it again, waits
// for the job, restores one machine from vault and key alone, compares it byte
// by byte, and changes the machines for the next round. The seed is printed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	times       int
	binary      string
	work        string
	mib         int
	seed        uint64
	machines    int
	ledger      bool
	killsARound int
}

func main() {
	o := options{}
	flag.IntVar(&o.times, "times", 20, "rounds")
	flag.IntVar(&o.killsARound, "kills", 1, "kills a round")
	flag.StringVar(&o.binary, "holdfast", "bin/holdfast", "the binary")
	flag.StringVar(&o.work, "work", "", "folder to work in; default a new one")
	flag.IntVar(&o.mib, "mib", 96, "data of each machine, in MiB")
	flag.IntVar(&o.machines, "machines", 3, "how many")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of kills and contents")
	flag.BoolVar(&o.ledger, "ledger", true, "with ClickHouse")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "killing:", err)
		os.Exit(1)
	}
}

// house is the service under test, and the machines that it backs up.
type house struct {
	options
	rng  *rand.Rand
	data string
	up   *exec.Cmd
	gone chan error
}

func run(ctx context.Context, o options) (err error) {
	if o.work == "" {
		if o.work, err = os.MkdirTemp("", "holdfast-killing-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.work)
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	h := &house{options: o, rng: rand.New(rand.NewPCG(o.seed, 0)), data: filepath.Join(o.work, "data")}
	fmt.Printf("seed %d, %d rounds, %d machines of %d MiB\n", o.seed, o.times, o.machines, o.mib)
	if err := h.make(); err != nil {
		return err
	}
	defer func() { h.kill() }()
	if err := h.start(ctx); err != nil {
		return err
	}
	for round := 1; round <= o.times; round++ {
		began := time.Now()
		if err := h.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		fmt.Printf("round %2d of %d: killed, up again, completed, restored equal  (%.0f s)\n", round, o.times, time.Since(began).Seconds())
	}
	fmt.Printf("%d kills: 0 lost, 0 stuck, 0 different\n", o.times*o.killsARound)
	return nil
}

func (h *house) round(ctx context.Context, round int) error {
	job, err := h.order(ctx)
	if err != nil {
		return err
	}
	for range h.killsARound {
		select {
		case <-time.After(time.Duration(100+h.rng.IntN(3000)) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		h.kill()
		if err := h.start(ctx); err != nil {
			return err
		}
	}
	if err := h.wait(ctx, job); err != nil {
		return err
	}
	name := machineName(h.rng.IntN(h.machines))
	if err := h.compare(ctx, name, round); err != nil {
		return err
	}
	return h.change(round)
}

func machineName(i int) string { return fmt.Sprintf("vm-%02d", i) }

func (h *house) disk(name string) string {
	return filepath.Join(h.work, "machines", name, "disk0.raw")
}

// make writes the machines: a third common, a third of their own, a third holes.
func (h *house) make() error {
	for i := range h.machines {
		disk := h.disk(machineName(i))
		if err := os.MkdirAll(filepath.Dir(disk), 0o755); err != nil {
			return err
		}
		f, err := os.Create(disk)
		if err != nil {
			return err
		}
		for at := range h.mib {
			seed := uint64(at)
			if at%3 == 1 {
				seed += uint64(i+1) << 32
			}
			if at%3 == 2 {
				continue
			}
			if _, err := f.WriteAt(noise(h.seed+seed), int64(at)<<20); err != nil {
				return err
			}
		}
		if err := f.Truncate(int64(h.mib) << 20); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(disk), "domain.xml"), []byte("<domain/>"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// noise is a MiB that compresses to about half.
func noise(seed uint64) []byte {
	b := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < len(b); i += 2 {
		b[i] = byte(r.Uint32())
	}
	return b
}

// change overwrites a twentieth of each disk.
func (h *house) change(round int) error {
	for i := range h.machines {
		f, err := os.OpenFile(h.disk(machineName(i)), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		for range max(1, h.mib/20) {
			if _, err := f.WriteAt(noise(uint64(round)<<40+h.rng.Uint64N(1<<30)), int64(h.rng.IntN(h.mib))<<20); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(h.work, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"up", "--data", h.data, "--images", filepath.Join(h.work, "machines")}
	if !h.ledger {
		args = append(args, "--no-ledger")
	}
	os.Remove(filepath.Join(h.data, "run.json")) // a killed process leaves it
	h.up, h.gone = exec.Command(h.binary, args...), make(chan error, 1)
	h.up.Stdout, h.up.Stderr = log, log
	if err := h.up.Start(); err != nil {
		return err
	}
	up := h.up
	go func() { h.gone <- up.Wait() }()
	for range 600 {
		if out, err := h.holdfast(ctx, "machines"); err == nil && strings.Count(string(out), "\n") >= h.machines {
			return nil
		}
		select {
		case err := <-h.gone:
			h.up = nil
			return fmt.Errorf("up ended by itself: %v; see %s", err, log.Name())
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("up does not answer after two minutes; see %s", log.Name())
}

func (h *house) kill() {
	if h.up == nil {
		return
	}
	h.up.Process.Signal(syscall.SIGKILL)
	<-h.gone
	h.up = nil
}

func (h *house) holdfast(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, h.binary, append(args, "--data", h.data)...)
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok {
		return out, fmt.Errorf("holdfast %v: %w: %s", args, err, e.Stderr)
	}
	return out, err
}

// order asks for a backup of all machines and returns the job.
func (h *house) order(ctx context.Context) (string, error) {
	out, err := h.holdfast(ctx, "backup", "--match", "*")
	return strings.TrimSpace(string(out)), err
}

// wait looks at the job until it is over, and wants each backup completed.
func (h *house) wait(ctx context.Context, job string) error {
	var last string
	for range 600 {
		out, err := h.holdfast(ctx, "jobs", job, "-o", "json")
		if err == nil {
			var v struct {
				Jobs []struct {
					Over    bool `json:"over"`
					Backups []struct{ State, Reason string }
				} `json:"jobs"`
			}
			if err := json.Unmarshal(out, &v); err != nil {
				return err
			}
			last = string(out)
			if len(v.Jobs) == 1 && v.Jobs[0].Over {
				for _, b := range v.Jobs[0].Backups {
					if b.State != "completed" {
						return fmt.Errorf("job %s: a backup %s: %s", job, b.State, b.Reason)
					}
				}
				return nil
			}
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("job %s is stuck after five minutes: %s", job, last)
}

// compare restores a machine's newest point, cold, and compares it.
func (h *house) compare(ctx context.Context, name string, round int) error {
	to := filepath.Join(h.work, "restored", fmt.Sprint(round))
	defer os.RemoveAll(to)
	if _, err := h.holdfast(ctx, "vault", "--at", filepath.Join(h.data, "vault"), "restore", name, "--to", to); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cmp", h.disk(name), filepath.Join(to, "disk0.raw")).CombinedOutput(); err != nil {
		return fmt.Errorf("restored %s differs: %s", name, out)
	}
	return nil
}
