package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
)

// engine is the house's own, on a folder of ours, with its two users.
type engine struct {
	options clickhouse.Options
	server  *clickhouse.Server
	write   *ledger.Ledger
	read    *ledger.Ledger // as people ask: it may only read, within limits
}

var users = []clickhouse.User{{Name: "writer", Password: "w"}, {Name: "reader", Password: "r", Reader: true}}

func start(ctx context.Context, dir string) (*engine, error) {
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	found, err := clickhouse.Fetch(ctx, cmp.Or(os.Getenv("HOLDFAST_CACHE"), filepath.Join(home, "holdfast")))
	if err != nil {
		return nil, err
	}
	e := &engine{options: clickhouse.Options{Engine: found, Dir: dir, Users: users}}
	return e, e.open(ctx)
}

func (e *engine) open(ctx context.Context) (err error) {
	if e.server, err = clickhouse.Start(ctx, e.options); err != nil {
		return err
	}
	dial := func(u clickhouse.User) (*ledger.Ledger, error) {
		return ledger.Open(ledger.Config{Addr: e.server.Addr(), User: u.Name, Password: u.Password})
	}
	if e.write, err = dial(users[0]); err != nil {
		return err
	}
	e.read, err = dial(users[1])
	return err
}

func (e *engine) stop() error {
	for _, l := range []*ledger.Ledger{e.write, e.read} {
		if err := l.Close(); err != nil {
			return err
		}
	}
	return e.server.Stop()
}

// restart leaves nothing in the engine's own memory.
func (e *engine) restart(ctx context.Context) error {
	if err := e.stop(); err != nil {
		return err
	}
	return e.open(ctx)
}

// chill takes the engine's files out of the page cache.
func (e *engine) chill() error {
	return filepath.WalkDir(filepath.Join(e.options.Dir, "store"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a merge has taken it away
		}
		f, err := os.Open(path)
		if err != nil {
			return nil // as above
		}
		defer f.Close()
		if err := unix.Fdatasync(int(f.Fd())); err != nil { // what is dirty stays
			return fmt.Errorf("chill %s: %w", path, err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("chill %s: %w", path, err)
		}
		return nil
	})
}

// spent is the CPU time of the engine in seconds, and the most memory it took.
func (e *engine) spent() (cpu float64, peak int64) {
	const ticks = 100 // a second, as Linux shows CPU time to programs
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.server.PID())); err == nil {
		rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		user, _ := strconv.ParseFloat(rest[11], 64)
		system, _ := strconv.ParseFloat(rest[12], 64)
		cpu = (user + system) / ticks
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.server.PID())); err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
				peak = kb << 10
			}
		}
	}
	return cpu, peak
}

// settle waits until nothing is left to merge or to change in the background.
func (e *engine) settle(ctx context.Context) error {
	const quiet = 10 // looks in a row
	for n := 0; n < quiet; n++ {
		a, err := e.read.Query(ctx, "SELECT (SELECT count() FROM system.merges) + (SELECT count() FROM system.mutations WHERE NOT is_done)")
		if err != nil {
			return err
		}
		if a.Rows[0][0].(uint64) > 0 {
			n = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
