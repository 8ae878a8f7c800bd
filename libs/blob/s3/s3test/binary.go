// Package s3test gives tests a real S3 server, versitygw, as a process that can be
// killed and started again.
package s3test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const module = "github.com/versity/versitygw"

var built = sync.OnceValues(build)

// Binary is the server's program. It is built once, from ops/tools, into
// HOLDFAST_CACHE (default ~/.cache/holdfast): about 100 CPU s, where Go's own cache
// knows nothing of it.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal("no S3 server for this test: ", err)
	}
	return path
}

func build() (string, error) {
	tools, err := toolsDir()
	if err != nil {
		return "", err
	}
	version, err := versionIn(filepath.Join(tools, "go.mod"))
	if err != nil {
		return "", err
	}
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	dir := cmp.Or(os.Getenv("HOLDFAST_CACHE"), filepath.Join(home, "holdfast"))
	path := filepath.Join(dir, "versitygw-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	// The tests of other packages want it at the same moment.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", path, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path+".new", module+"/cmd/versitygw")
	cmd.Dir = tools
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", module, err, out)
	}
	return path, os.Rename(path+".new", path)
}

// toolsDir is the module of tools, beside this source.
func toolsDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/holdfast-backup/holdfast").Output()
	if err != nil {
		return "", fmt.Errorf("find the tools: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "ops", "tools"), nil
}

// versionIn is the version of the server that a go.mod asks for.
func versionIn(mod string) (string, error) {
	b, err := os.ReadFile(mod)
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(b), module+" ")
	if !ok {
		return "", fmt.Errorf("%s does not ask for %s", mod, module)
	}
	return strings.Fields(rest)[0] + "-" + runtime.GOARCH, nil
}
