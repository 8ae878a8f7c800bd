package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/holdfast-backup/holdfast/libs/blob/probe"
)

// Probe tries a folder as a target. One that is not there is not made: more often
// than not it is a share that is not mounted.
func Probe(ctx context.Context, dir string) probe.Findings {
	var out probe.Findings
	if _, err := os.Stat(dir); err != nil {
		out.Say("folder", probe.Bad, "%v: is the share mounted?", err)
		return out
	}
	_, err := os.Stat(filepath.Join(dir, markName))
	fresh := errors.Is(err, fs.ErrNotExist)
	s, err := Open(dir)
	if err != nil {
		out.Say("folder", probe.Bad, "%v", err)
		return out
	}
	t := probe.New(ctx, s)
	t.Common()
	t.CleanUp()
	if free, ok := s.Free(ctx); ok {
		t.Say("room", probe.OK, "%d MiB free", free>>20)
	}
	if fresh {
		t.Say("left", probe.Note, "%s and %s, which make the folder a target", markName, tempDir)
	}
	return t.Findings
}

// Device is the file system that a folder lies on: two targets on one are lost together.
func Device(dir string) (string, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: no device is known", dir)
	}
	return fmt.Sprintf("%d:%d", uint64(sys.Dev)>>8&0xfff, uint64(sys.Dev)&0xff), nil
}
