package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// built is where the binary lies, which the first test that needs it builds.
var built string

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "holdfast")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/holdfast-backup/holdfast/services/holdfast").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// process is one of the house's, with a log of its own.
type process struct {
	*exec.Cmd
	u   *under
	log string
}

func (u *under) process(log string, args ...string) *process {
	u.t.Helper()
	path, err := build()
	u.must(err)
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	u.must(err)
	defer f.Close()
	p := &process{exec.Command(path, args...), u, log}
	p.Stdout, p.Stderr = f, f
	u.must(p.Start())
	u.t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		if u.t.Failed() {
			b, _ := os.ReadFile(log)
			u.t.Logf("%s ends:\n%s", filepath.Base(log), b[max(0, len(b)-2<<10):])
		}
	})
	return p
}

// stop sends signals one after another, and says how the process ended and when.
func (p *process) stop(signals ...os.Signal) (code int, took time.Duration) {
	p.u.t.Helper()
	begun := time.Now()
	for _, s := range signals {
		p.u.must(p.Process.Signal(s))
	}
	if err := p.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			p.u.t.Fatal(err)
		}
	}
	return p.ProcessState.ExitCode(), time.Since(begun)
}

// drained stops in good order, and wants that to be all right and quick.
func (p *process) drained() {
	p.u.t.Helper()
	const grace = 30 * time.Second // the default
	if code, took := p.stop(syscall.SIGTERM); code != 0 || took > grace {
		p.u.t.Errorf("%s: exit %d after %s", filepath.Base(p.log), code, took)
	}
}
