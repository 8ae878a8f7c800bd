package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// standing is how long a start may take before it is called stuck: the engine may
// take a minute, and this computer may have other work.
const standing = 3 * time.Minute

// process is the house under test: one life after another on one data folder.
type process struct {
	binary, data, log string
	args              []string

	mu     sync.Mutex
	now    *life // that is ready
	last   *life
	turned chan struct{} // closed and made anew when now changes
}

// life is from one start to its end.
type life struct {
	cmd   *exec.Cmd
	began time.Time
	took  time.Duration // until it said that it is up
	cpu   time.Duration // that this cost, the engine's not counted
	ready chan struct{}
	gone  chan struct{} // the process has ended
	err   error         // how; after gone
	run   house.RunFile // after ready
	cl    *client.Client
	ctx   context.Context // ends with the process
	stop  context.CancelFunc
}

func newProcess(binary, data, log string, args ...string) *process {
	return &process{binary: binary, data: data, log: log, args: args, turned: make(chan struct{})}
}

// start begins a life. It does not wait until it is ready.
func (p *process) start() (*life, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	l := &life{began: time.Now(), ready: make(chan struct{}), gone: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.cmd = exec.Command(p.binary, append([]string{"up", "-o", "json", "--data", p.data}, p.args...)...)
	l.cmd.Stderr = log
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.binary, err)
	}
	p.mu.Lock()
	p.last = l
	p.mu.Unlock()
	go func() {
		if json.NewDecoder(out).Decode(&l.run) == nil {
			if cl, err := client.Open(l.run.Region, stage.Connect(l.run.Kafka...)...); err == nil {
				l.took, l.cpu, l.cl = time.Since(l.began), cpuOf(l.cmd.Process.Pid), cl
				close(l.ready)
				p.turn(l)
			}
		}
		_, _ = io.Copy(io.Discard, out) // until the process ends
		l.err = l.cmd.Wait()
		p.turn(nil)
		l.stop()
		close(l.gone)
	}()
	return l, nil
}

func (p *process) turn(l *life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = l
	close(p.turned)
	p.turned = make(chan struct{})
}

// end leaves no process behind, ready or not.
func (p *process) end() {
	p.mu.Lock()
	l := p.last
	p.mu.Unlock()
	if l != nil {
		l.kill(true)
	}
}

// stands waits until the life is ready.
func (p *process) stands(ctx context.Context, l *life) error {
	select {
	case <-l.ready:
		return nil
	case <-l.gone:
		return fmt.Errorf("up ended by itself: %v; see %s", l.err, p.log)
	case <-time.After(standing):
		return fmt.Errorf("up is not ready after %s; see %s", standing, p.log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// living waits for a life that is ready.
func (p *process) living(ctx context.Context) (*life, error) {
	for {
		p.mu.Lock()
		l, turned := p.now, p.turned
		p.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// over waits until the process has ended, and closes what was open to it.
func (l *life) over() {
	<-l.gone
	if l.cl != nil {
		l.cl.Close()
	}
}

// kill ends the process at once; with all, its engine too, which else notices that
// its parent is gone and stops in order.
func (l *life) kill(all bool) {
	select {
	case <-l.gone: // its number may be another's by now
		l.over()
		return
	default:
	}
	var children []int
	if all {
		children = l.children()
	}
	_ = l.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself, which over tells
	for _, pid := range children {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // each is the head of its group
	}
	l.over()
}

// killEngine ends the engine alone, and says whether there was one.
func (l *life) killEngine() bool {
	children := l.children()
	for _, pid := range children {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	return len(children) > 0
}

// children are those processes that this one began and that still are its own.
func (l *life) children() (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.cmd.Process.Pid)) // the pattern is sound
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, word := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpuOf is what a process has spent, as Linux shows it: in hundredths of a second.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it has ended
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	const user, system = 11, 12
	var spent time.Duration
	if words := strings.Fields(rest); len(words) > system {
		for _, i := range []int{user, system} {
			n, _ := strconv.Atoi(words[i]) // a number, or Linux is another
			spent += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return spent
}

// term asks the process to end, and waits for it at most for so long.
func (l *life) term(wait time.Duration) (ended bool) {
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-l.gone:
		l.over()
		return true
	case <-time.After(wait):
		return false
	}
}

// holdfast runs one command of the command line.
func (p *process) holdfast(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.binary, append(args, "--data", p.data)...)
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), fmt.Errorf("holdfast %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(e.Stderr)))
	}
	return string(out), err
}
