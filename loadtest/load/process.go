package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one of the house, with all that it began.
type process struct {
	name string
	pid  int
	cmd  *exec.Cmd     // nil: it is somebody else's child
	gone chan struct{} // closed when it has ended
	err  error         // how; after gone

	metrics string // where it tells them; empty: it tells none
	log     string
}

// begin starts a command whose words go to a file.
func begin(name, log, binary string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, cmd: exec.Command(binary, args...), gone: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	return p, nil
}

// stopsIn is how long a stop in order may take before it is a kill: longer than the
// house's own grace and its engine's.
const stopsIn = 2 * time.Minute

func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.gone:
		return p.err
	case <-time.After(stopsIn):
		_ = p.cmd.Process.Kill()
		<-p.gone
		return fmt.Errorf("%s did not end within %s of a SIGTERM", p.name, stopsIn)
	}
}

// ticks a second, as Linux shows CPU time to programs.
const ticks = 100

// spent is the CPU time of a process in seconds, and whose child it is.
func spent(pid int) (cpu float64, parent int, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	parent, _ = strconv.Atoi(rest[1])
	for _, i := range []int{11, 12, 13, 14} { // own user and system time, and that of ended children
		n, _ := strconv.ParseFloat(rest[i], 64)
		cpu += n / ticks
	}
	return cpu, parent, true
}

// below are the descendants of a process.
func below(pid int) (all []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is sound
	parents := map[int]int{}
	for _, path := range stats {
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if _, parent, ok := spent(id); ok {
			parents[id] = parent
		}
	}
	for id := range parents {
		for up := parents[id]; up > 1; up = parents[up] {
			if up == pid {
				all = append(all, id)
				break
			}
		}
	}
	return all
}

// peak is the most memory that a process had since forgetPeak.
func peak(pid int) int64 { return status(pid, "VmHWM:") }

func status(pid int, field string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, field); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// forgetPeak makes Linux count a process's peak from now on. Where that is not ours
// to do, the peak is that of its whole life.
func forgetPeak(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// filesOpen counts them.
func filesOpen(pid int) int {
	all, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(all)
}
