package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// holdfast is the whole one-machine mode: broker, every stage and the ledger.
type holdfast struct {
	binary, data string
	up           *exec.Cmd
	exited       chan error
	m            *machines
}

// Shards of the vault that is measured.
const k, parityShards = 4, 2

func openHoldfast(ctx context.Context, dir, binary, compression string, m *machines) (*holdfast, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	h := &holdfast{binary: binary, data: filepath.Join(dir, "data"), m: m, exited: make(chan error, 1)}
	h.up = exec.Command(binary, "up", "--data", h.data, "--images", m.dir, "--compression", cmp.Or(compression, "zstd-fastest"))
	log, err := os.Create(filepath.Join(filepath.Dir(dir), "holdfast.log"))
	if err != nil {
		return nil, err
	}
	h.up.Stdout, h.up.Stderr = log, log
	if err := h.up.Start(); err != nil {
		return nil, err
	}
	go func() { h.exited <- h.up.Wait() }()
	for {
		if err := h.command(ctx, io.Discard, "machines").Run(); err == nil {
			if out, _ := h.command(ctx, nil, "machines").Output(); strings.Count(string(out), "\n") >= len(m.names) {
				return h, nil
			}
		}
		select {
		case err := <-h.exited:
			return nil, fmt.Errorf("up ended: %v, see %s", err, log.Name())
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (h *holdfast) command(ctx context.Context, out io.Writer, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.binary, append(args, "--data", h.data)...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd
}

func (h *holdfast) Name() string { return "holdfast" }

func (h *holdfast) Close() error {
	if err := h.up.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-h.exited
}

func (h *holdfast) Full(ctx context.Context) (figure, error)   { return h.backup(ctx) }
func (h *holdfast) Second(ctx context.Context) (figure, error) { return h.backup(ctx) }

func (h *holdfast) backup(ctx context.Context) (figure, error) {
	f, err := h.measured(func() (int64, float64, error) {
		return client(h.command(ctx, os.Stderr, append([]string{"backup", "--wait"}, h.m.names...)...))
	})
	if err != nil {
		return f, err
	}
	f.Parity, err = size(filepath.Join(h.data, "vault"), func(string) bool { return true })
	f.Bytes = f.Parity * k / (k + parityShards)
	return f, err
}

// client runs a command of ours and returns its peak memory and CPU.
func client(cmd *exec.Cmd) (rss int64, cpu float64, err error) {
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return use.Maxrss << 10, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// measured adds what the service spent to what the command did. The service is
// asked once it is quiet again: stragglers and the ledger are part of the price.
func (h *holdfast) measured(do func() (int64, float64, error)) (figure, error) {
	before, err := spentBy(h.up.Process.Pid)
	if err != nil {
		return figure{}, err
	}
	start := time.Now()
	rss, cpu, err := do()
	wall := time.Since(start).Seconds()
	if err != nil {
		return figure{}, err
	}
	last, err := spentBy(h.up.Process.Pid)
	for err == nil { // until it spends less than 10 % of a core
		time.Sleep(2 * time.Second)
		now, e := spentBy(h.up.Process.Pid)
		if e != nil {
			return figure{}, e
		}
		if now.all()-last.all() < 0.2 {
			return figure{Wall: wall, CPU: now.all() - before.all() + cpu, Engine: now.below - before.below, RSS: max(now.rss, rss)}, nil
		}
		last = now
	}
	return figure{}, err
}

// Restore is a cold reader: vault and key alone, no service.
func (h *holdfast) Restore(ctx context.Context, machine string) (figure, string, error) {
	out, err := h.command(ctx, nil, "points", machine, "-o", "json").Output()
	if err != nil {
		return figure{}, "", fmt.Errorf("points: %w", err)
	}
	var list struct {
		Points []struct {
			Point string `json:"point"`
		} `json:"points"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list.Points) == 0 {
		return figure{}, "", fmt.Errorf("points of %s: %v: %s", machine, err, out)
	}
	to := filepath.Join(h.data, "restored", "bench")
	at := "--at=" + filepath.Join(h.data, "vault")
	start := time.Now()
	rss, cpu, err := client(h.command(ctx, os.Stderr, "vault", at, "restore", list.Points[len(list.Points)-1].Point, "--to", to))
	return figure{Wall: time.Since(start).Seconds(), CPU: cpu, RSS: rss}, filepath.Join(to, "disk.raw"), err
}
