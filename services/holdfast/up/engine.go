package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

const (
	writer = "holdfast"
	viewer = "viewer"
)

// engine is the ledger's server. It is started again when it dies, and tried again
// while it does not start, always at one address: the recorder looks for it there.
type engine struct {
	dir  string
	opts clickhouse.Options
	say  func(format string, a ...any)
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	server *clickhouse.Server     // nil: none has started yet
	read   string                 // the viewer's password
	told   func(*house.RunLedger) // called, under the lock, when one has
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
// this house stays blind. An engine that is there and does not start, as on a full
// disk, is no error: it is said, and tried again until it does.
func startEngine(ctx context.Context, dir string, say func(string, ...any)) (*engine, error) {
	found, err := clickhouse.Find(cacheDir())
	if errors.Is(err, clickhouse.ErrNone) {
		say("fetching the ledger's engine (180 MB, once) into %s", cacheDir())
		found, err = clickhouse.Fetch(ctx, cacheDir())
	}
	if err != nil {
		return nil, err
	}
	e := &engine{dir: dir, say: say, opts: clickhouse.Options{Engine: found, Dir: filepath.Join(dir, "data")}}
	if e.opts.HTTPPort, e.opts.TCPPort, err = clickhouse.Ports(e.opts); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	server, err := e.start(ctx)
	if err != nil {
		say("the ledger's engine does not start: %v; backups go on without it, and it is tried again", err)
	}
	e.done.Go(func() { e.supervise(life, server, err) })
	return e, nil
}

// addr is where the engine listens, or will.
func (e *engine) addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.opts.TCPPort))
}

func (e *engine) start(ctx context.Context) (*clickhouse.Server, error) {
	write, err := password(e.dir, writer)
	if err != nil {
		return nil, err
	}
	read, err := password(e.dir, viewer)
	if err != nil {
		return nil, err
	}
	opts := e.opts
	opts.Users = []clickhouse.User{{Name: writer, Password: write}, {Name: viewer, Password: read, Reader: true}}
	server, err := clickhouse.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.server, e.read = server, read
	if e.told != nil {
		e.told(e.run())
	}
	return server, nil
}

const (
	again    = 2 * time.Second // a dead engine is left dead for this long, and longer each time,
	againMax = time.Minute     // until it has lived for this long
)

// supervise starts the engine whenever it is not there. failed is why, if it never
// was. The same reason is said once.
func (e *engine) supervise(ctx context.Context, server *clickhouse.Server, failed error) {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(again), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(againMax), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		if server != nil {
			began := time.Now()
			select {
			case <-server.Done():
			case <-ctx.Done():
				return
			}
			e.say("the ledger's engine ended (%v); backups go on, it is started again", server.Wait())
			if time.Since(began) > againMax {
				wait.Reset()
			}
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return
		}
		next, err := e.start(ctx)
		switch {
		case err == nil:
			e.say("the ledger's engine is there, at %s", e.addr())
		case ctx.Err() == nil && (failed == nil || failed.Error() != err.Error()):
			e.say("the ledger's engine does not start: %v; it is tried again", err)
		}
		server, failed = next, err
	}
}

// close ends the engine; it is started no more.
func (e *engine) close() {
	e.stop()
	e.done.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return
	}
	if err := e.server.Stop(); err != nil {
		e.say("the ledger's engine: %v", err)
	}
}

// tell calls f with how to ask the ledger: now, if it is there, which it returns, and
// at each start.
func (e *engine) tell(f func(*house.RunLedger)) *house.RunLedger {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = f
	if e.server == nil {
		return nil
	}
	f(e.run())
	return e.run()
}

func (e *engine) run() *house.RunLedger {
	return &house.RunLedger{Addr: e.server.Addr(), HTTP: "http://" + e.server.HTTPAddr(), User: viewer, Password: e.read}
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

// LedgerWriter is who may write the ledger of a data folder, and the file of the
// password.
func LedgerWriter(data string) (user, file string) {
	return writer, passwordFile(ledgerDir(data), writer)
}

func ledgerDir(data string) string { return filepath.Join(data, "ledger") }

func passwordFile(dir, user string) string { return filepath.Join(dir, user+".password") }
