package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// timed runs a command and says what it cost.
func timed(ctx context.Context, dir string, env []string, name string, args ...string) (figure, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return figure{}, fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return figure{Wall: time.Since(start).Seconds(), CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), RSS: use.Maxrss << 10}, nil
}

// command is a peer that is one command a step.
type command struct {
	name, repo, out string
	env             []string
	m               *machines
	backup, restore func(c *command, label string) []string
	runs            int
}

func (c *command) Name() string { return c.name }
func (c *command) Close() error { return nil }

func (c *command) Full(ctx context.Context) (figure, error)   { return c.create(ctx) }
func (c *command) Second(ctx context.Context) (figure, error) { return c.create(ctx) }

func (c *command) create(ctx context.Context) (figure, error) {
	c.runs++
	f, err := timed(ctx, c.m.dir, c.env, c.name, c.backup(c, fmt.Sprint("run", c.runs))...)
	if err != nil {
		return f, err
	}
	f.Bytes, err = size(c.repo, func(string) bool { return true })
	f.Parity = f.Bytes
	return f, err
}

func (c *command) Restore(ctx context.Context, machine string) (figure, string, error) {
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return figure{}, "", err
	}
	f, err := timed(ctx, c.out, c.env, c.name, c.restore(c, machine)...)
	return f, filepath.Join(c.out, machine, "disk.raw"), err
}

func openRestic(ctx context.Context, dir string, m *machines) (tool, error) {
	c := &command{name: "restic", repo: filepath.Join(dir, "repo"), out: filepath.Join(dir, "out"), m: m,
		backup: func(*command, string) []string { return []string{"backup", "-q", "."} },
		restore: func(c *command, machine string) []string {
			return []string{"restore", "-q", "latest", "--include", "/" + machine, "--target", c.out}
		}}
	c.env = []string{"RESTIC_REPOSITORY=" + c.repo, "RESTIC_PASSWORD=bench", "RESTIC_CACHE_DIR=" + filepath.Join(dir, "cache")}
	_, err := timed(ctx, m.dir, c.env, "restic", "init", "-q", "--repository-version", "2")
	return c, err
}

func openBorg(ctx context.Context, dir string, m *machines) (tool, error) {
	c := &command{name: "borg", repo: filepath.Join(dir, "repo"), out: filepath.Join(dir, "out"), m: m,
		backup: func(c *command, label string) []string {
			return []string{"create", "--sparse", "--compression", "zstd,1", c.repo + "::" + label, "."}
		},
		restore: func(c *command, machine string) []string {
			return []string{"extract", "--sparse", c.repo + "::" + fmt.Sprint("run", c.runs), machine}
		}}
	c.env = []string{"BORG_PASSPHRASE=bench", "BORG_BASE_DIR=" + filepath.Join(dir, "base"), "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes"}
	_, err := timed(ctx, m.dir, c.env, "borg", "init", "-e", "repokey-blake2", c.repo)
	return c, err
}
