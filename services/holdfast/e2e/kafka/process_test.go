package kafka

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
)

// process is one process of one stage.
type process struct {
	stage string
	data  string // what it keeps: a new process of the name finds it again
	cmd   *exec.Cmd
	gone  chan struct{}
}

// fleet is every process that runs, and how they ended. It is used by several goroutines.
type fleet struct {
	r      *region
	config []byte

	mu      sync.Mutex
	running []*process
	kills   int
	leaves  int
	slowest time.Duration // to leave
}

func (r *region) fleet() *fleet {
	r.Helper()
	text, err := os.ReadFile(r.config)
	r.must(err)
	f := &fleet{r: r, config: text}
	r.Cleanup(f.end)
	return f
}

// start runs a stage under a name that no other process has now.
func (f *fleet) start(stage, name string) *process {
	config := filepath.Join(f.r.dir, name+".yaml")
	text := bytes.Replace(f.config, []byte("data: ."), []byte("data: "+name), 1)
	err := os.WriteFile(config, text, 0o600)
	log, err2 := os.OpenFile(filepath.Join(f.r.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil || err2 != nil {
		f.r.Errorf("start %s: %v, %v", name, err, err2)
		return nil
	}
	defer log.Close()
	p := &process{stage: stage, data: name, cmd: exec.Command(f.r.binary, "run", "--config", config, "--stages", stage), gone: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = kafkatest.Mortal()
	if err := p.cmd.Start(); err != nil {
		f.r.Errorf("start %s: %v", name, err)
		return nil
	}
	go func() { p.cmd.Wait(); close(p.gone) }()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = append(f.running, p)
	return p
}

func (f *fleet) drop(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, q := range f.running {
		if q == p {
			f.running = append(f.running[:i], f.running[i+1:]...)
			return
		}
	}
}

// all lists what runs now.
func (f *fleet) all() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*process(nil), f.running...)
}

// of is the first process of a stage.
func (f *fleet) of(stage string) *process {
	for _, p := range f.all() {
		if p.stage == stage {
			return p
		}
	}
	return nil
}

// kill is kill -9, and a process of the same name in its place.
func (f *fleet) kill(p *process) {
	p.cmd.Process.Kill()
	<-p.gone
	f.drop(p)
	f.mu.Lock()
	f.kills++
	f.mu.Unlock()
	f.start(p.stage, p.data)
}

// leave asks p to end, and wants it to be done in time and without complaint.
func (f *fleet) leave(p *process) {
	began := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(leaveWithin):
		f.r.Errorf("%s does not end %s after SIGTERM", p.data, leaveWithin)
		p.cmd.Process.Kill()
		<-p.gone
	}
	f.drop(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaves++
	f.slowest = max(f.slowest, time.Since(began))
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && f.r.Context().Err() == nil {
		f.r.Errorf("%s ends with %d after SIGTERM", p.data, code)
	}
}

// leaveWithin is the runner's grace three times over: to drain, to commit and to say
// goodbye, and as much for a machine with other work.
const leaveWithin = 30 * time.Second

// end kills what is left, and shows the last words where the test failed.
func (f *fleet) end() {
	for _, p := range f.all() {
		p.cmd.Process.Kill()
		<-p.gone
	}
	if !f.r.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(f.r.dir, "*.log"))
	for _, name := range logs {
		var said []string
		text, _ := os.ReadFile(name)
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, `"INFO"`) && !strings.Contains(line, `"WARN"`) && !strings.Contains(line, "unable to dial") {
				said = append(said, line)
			}
		}
		if len(said) > 0 {
			f.r.Logf("%s:\n%s", filepath.Base(name), strings.Join(said[max(0, len(said)-6):], ""))
		}
	}
}

// cpu is the CPU time that p has used, in the kernel's ticks of 10 ms.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
