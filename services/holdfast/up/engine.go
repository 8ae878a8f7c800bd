package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

const (
	writer = "holdfast"
	viewer = "viewer"
)

// engine is the ledger's server, started again when it dies.
type engine struct {
	opts clickhouse.Options
	say  func(format string, a ...any)

	mu     sync.Mutex
	server *clickhouse.Server
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// cacheDir is where fetched engines lie, shared by all data folders of a user.
func cacheDir() string {
	if dir := os.Getenv("HOLDFAST_CACHE"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "holdfast-cache")
	}
	return filepath.Join(home, ".cache", "holdfast")
}

// startEngine finds an engine, or fetches one, and starts it. Its error is why
// this house is blind; no backup needs it.
func startEngine(ctx context.Context, dir string, log io.Writer, say func(string, ...any)) (*engine, error) {
	found, err := clickhouse.Find(cacheDir())
	if errors.Is(err, clickhouse.ErrNone) {
		say("fetching the ledger's engine (180 MB, once) into %s", cacheDir())
		found, err = clickhouse.Fetch(ctx, cacheDir())
	}
	if err != nil {
		return nil, err
	}
	write, err := password(dir, writer)
	if err != nil {
		return nil, err
	}
	read, err := password(dir, viewer)
	if err != nil {
		return nil, err
	}
	e := &engine{say: say, opts: clickhouse.Options{Engine: found, Dir: filepath.Join(dir, "data"), Log: log,
		Users: []clickhouse.User{{Name: writer, Password: write}, {Name: viewer, Password: read, Reader: true}}}}
	if e.server, err = clickhouse.Start(ctx, e.opts); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.done.Go(func() { e.supervise(life) })
	return e, nil
}

// again is how long a dead engine is left dead.
const again = 2 * time.Second

func (e *engine) supervise(ctx context.Context) {
	server := e.server
	for {
		select {
		case <-server.Done():
		case <-ctx.Done():
			return
		}
		e.say("the ledger's engine ended (%v); backups go on, it is started again", server.Wait())
		for {
			select {
			case <-time.After(again):
			case <-ctx.Done():
				return
			}
			next, err := clickhouse.Start(ctx, e.opts)
			if err == nil {
				e.mu.Lock()
				e.server, server = next, next
				e.mu.Unlock()
				break
			}
			e.say("the ledger's engine does not start: %v", err)
		}
	}
}

func (e *engine) close() {
	e.stop()
	e.done.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.server.Stop(); err != nil {
		e.say("the ledger's engine: %v", err)
	}
}

func (e *engine) run() *house.RunLedger {
	return &house.RunLedger{Addr: e.server.Addr(), HTTP: "http://" + e.server.HTTPAddr(), User: viewer, Password: e.opts.Users[1].Password}
}

// password keeps one user's password in a file of its own.
func password(dir, user string) (string, error) {
	file := passwordFile(dir, user)
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		word := rand.Text()
		return word, writeNew(file, []byte(word+"\n"))
	}
	if err != nil {
		return "", fmt.Errorf("password of %s: %w", user, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func passwordFile(dir, user string) string { return filepath.Join(dir, user+".password") }
