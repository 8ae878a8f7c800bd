package images

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// hookOutput is how much of a command's output an error tells.
const hookOutput = 500

// hook runs pre or post. Its whole process group ends with it: a child that stays
// must have made itself a group of its own.
func (s *Source) hook(ctx context.Context, which, command, dir string, o source.Order) error {
	if command == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("not done within %s", s.o.Timeout))
	defer cancel()
	out := &tail{}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), "HOLDFAST_MACHINE="+source.Raw(o.Machine), "HOLDFAST_DIR="+dir, "HOLDFAST_SNAPSHOT="+o.Name)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("machine %q: %s command: %w%s", o.Machine, which, err, out)
}

// tail keeps the end of what a command said.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - hookOutput; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	said := strings.ToValidUTF8(strings.TrimSpace(t.buf.String()), "?")
	if said == "" {
		return ""
	}
	return ": " + said
}
