// Package clickhouse runs a ClickHouse server as a child of this process: the
// ledger's engine for one machine and for tests.
//
// The engine is the clickhouse on PATH, or one that is fetched once and pinned by
// hash. It listens with ClickHouse's own protocols, so what talks to it is what
// talks to a cluster. A child, not a library: a crash of it ends nothing of ours,
// and a death of ours ends it, because it lives as long as a pipe that we hold.
package clickhouse

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"
)

//go:embed host.py
var hostPy string

// hostSh is host.py for a binary: the engine stops when stdin ends. 3 is the
// folder's lock, which only the engine keeps; 4 is our stdin, which a shell
// hides from what it starts beside it.
const hostSh = `exec 4<&0; "$1" server --config-file="$2" <&- 4<&- & p=$!
(cat; kill "$p") <&4 >/dev/null 2>&1 3<&- & exec 3<&- 4<&-; wait "$p"`

// DefaultMemory is max_server_memory_usage on one machine. Idle the engine takes
// 250 MB, inserting 300 to 470; the limit is not strict, so plan for twice.
const DefaultMemory = 700 << 20

const loopback = "127.0.0.1"

const (
	startMax = 60 * time.Second      // 0.3 s on an idle machine; a crash's leftovers are loaded first
	stopMax  = 30 * time.Second      // 2 s with clients; a long query is cut after 5
	lockMax  = 15 * time.Second      // an engine whose parent was killed is gone in 2 s
	look     = 20 * time.Millisecond // between two looks at what is not yet so
	tailMax  = 4 << 10               // of the engine's last words, for an error
)

// Options of a server.
type Options struct {
	Engine    Engine    // from Find or Fetch
	Dir       string    // its data, made if it is not there
	Host      string    // default 127.0.0.1
	HTTPPort  int       // 0: the one of last time if it is free, else any
	TCPPort   int       // as HTTPPort
	Users     []User    // at least the one who writes; see User
	MaxMemory int64     // default DefaultMemory
	Log       io.Writer // what the engine says on stderr; nil: only into Dir
}

// Server is one running engine.
type Server struct {
	addr, httpAddr string
	cmd            *exec.Cmd
	stdin          io.Closer
	done           chan struct{}
	err            error // set before done is closed
}

// userName must do as an XML name and in a grant.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)

// Start runs a server and returns when it answers. ctx bounds the start only. A
// folder in use by another server is refused; one that only just lost its
// parent is waited for.
func Start(ctx context.Context, o Options) (*Server, error) {
	for _, u := range o.Users {
		if !userName.MatchString(u.Name) || u.Name == "default" {
			return nil, fmt.Errorf("ledger user %q: not a name of small letters, digits and _, or \"default\"", u.Name)
		}
	}
	o.Host = cmp.Or(o.Host, loopback)
	if o.MaxMemory == 0 {
		o.MaxMemory = DefaultMemory
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("engine folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine folder: %w", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // the child keeps it
	o.Dir = dir
	for try := 1; ; try++ {
		http, tcp, err := choosePorts(o)
		if err != nil {
			return nil, err
		}
		if err := configure(o, dir, http, tcp); err != nil {
			return nil, err
		}
		s, err := launch(ctx, o, dir, http, tcp, lock)
		if err == nil || try == portTries || !taken(o.Host, http) && !taken(o.Host, tcp) {
			return s, err
		}
	}
}

func launch(ctx context.Context, o Options, dir string, http, tcp int, lock *os.File) (*Server, error) {
	words := &tail{to: o.Log}
	s := &Server{addr: net.JoinHostPort(o.Host, strconv.Itoa(tcp)), httpAddr: net.JoinHostPort(o.Host, strconv.Itoa(http)), done: make(chan struct{})}
	if o.Engine.binary != "" {
		s.cmd = exec.Command("/bin/sh", "-c", hostSh, "sh", o.Engine.binary, filepath.Join(dir, "config.xml"))
	} else {
		s.cmd = exec.Command(o.Engine.python, "-I", "-c", hostPy, o.Engine.wheel, dir)
	}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, words, words
	s.cmd.WaitDelay = time.Second
	s.cmd.ExtraFiles = []*os.File{lock}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C reaches only us, who stop it in order
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Engine, err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Engine, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		s.stdin.Close()
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	if err := s.answers(ctx, o.Users); err != nil {
		_ = s.Stop() // the reason to start is gone; err says why
		return nil, fmt.Errorf("start %s in %s: %w: %s", o.Engine, dir, err, words)
	}
	return s, nil
}

// Addr is where the native protocol listens.
func (s *Server) Addr() string { return s.addr }

// HTTPAddr is where HTTP listens.
func (s *Server) HTTPAddr() string { return s.httpAddr }

// PID is the child's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the engine has ended, whoever ended it.
func (s *Server) Done() <-chan struct{} { return s.done }

// Wait blocks until the engine has ended and says how.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// Stop ends the engine in order, and by force after half a minute. It may be
// called twice and from several goroutines.
func (s *Server) Stop() error {
	s.stdin.Close()
	select {
	case <-s.done:
	case <-time.After(stopMax):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // gone already is as good
		<-s.done
		return errors.New("engine did not stop and was killed; it recovers at its next start")
	}
	return nil // how it ended is no matter, it recovers from anything
}

// lockDir takes the folder for one engine. The child inherits the lock, so that
// an engine which outlives its parent for a moment still holds it.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "holdfast.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("engine folder: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockMax)
	defer cancel()
	for {
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return lock, nil
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return nil, fmt.Errorf("%s is in use by another engine", dir)
		case <-time.After(look):
		}
	}
}

// tail passes on what the engine says and keeps the end of it.
type tail struct {
	mu   sync.Mutex
	to   io.Writer
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if n := len(t.kept) - tailMax; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	if t.to != nil {
		return t.to.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return lastLine(t.kept)
}
