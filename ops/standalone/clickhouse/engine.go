package clickhouse

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed engine.txt
var pinned string // pip's requirement: one version, one hash a platform

// ErrNone means that this machine has no engine yet. Fetch can get one.
var ErrNone = errors.New("no ClickHouse on PATH and none fetched")

// ErrPython means that the engine cannot be fetched or run: it needs python3.
var ErrPython = errors.New("no python3 on PATH, which the fetched ClickHouse runs in")

// oldest is the oldest clickhouse on PATH that is used: from 25.3 on a repeated
// insert is also once in the views that it feeds, which exactly-once rests on.
var oldest = [2]int{25, 3}

// Engine is something that can be a ClickHouse server: a binary or the wheel.
type Engine struct {
	binary  string // of clickhouse; empty: the wheel
	wheel   string // folder that pip filled
	python  string
	version string
}

// String says which engine it is, for people.
func (e Engine) String() string {
	if e.binary != "" {
		return "ClickHouse " + e.version + " at " + e.binary
	}
	return e.version + " at " + e.wheel
}

// Find returns the clickhouse on PATH, or else the engine that Fetch left in
// cacheDir. ErrNone and ErrPython say that there is none and what to do.
func Find(cacheDir string) (Engine, error) {
	if e, ok := onPath(); ok {
		return e, nil
	}
	e := fetched(cacheDir)
	if _, err := os.Stat(e.library()); err != nil {
		return Engine{}, fmt.Errorf("%w in %s", ErrNone, cacheDir)
	}
	var err error
	if e.python, err = exec.LookPath("python3"); err != nil {
		return Engine{}, ErrPython
	}
	return e, nil
}

// Fetch is Find, and where there is no engine it gets one: 180 MB by pip, which
// refuses all bytes but those pinned here; 540 MB on disk. A fetch that is cut
// leaves nothing that Find takes for an engine, and two at once do no harm.
func Fetch(ctx context.Context, cacheDir string) (Engine, error) {
	e, err := Find(cacheDir)
	if !errors.Is(err, ErrNone) {
		return e, err
	}
	e = fetched(cacheDir)
	if e.python, err = exec.LookPath("python3"); err != nil {
		return Engine{}, ErrPython
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return Engine{}, fmt.Errorf("cache folder: %w", err)
	}
	sweep(cacheDir)
	tmp, err := os.MkdirTemp(cacheDir, fetching)
	if err != nil {
		return Engine{}, fmt.Errorf("cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	list, dir := filepath.Join(tmp, "engine.txt"), filepath.Join(tmp, "engine")
	if err := os.WriteFile(list, []byte(pinned), 0o644); err != nil {
		return Engine{}, fmt.Errorf("cache folder: %w", err)
	}
	pip := exec.CommandContext(ctx, e.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
		"--no-deps", "--no-compile", "--only-binary", ":all:", "--require-hashes", "--target", dir, "-r", list)
	if out, err := pip.CombinedOutput(); err != nil {
		return Engine{}, fmt.Errorf("fetch %s by pip: %w: %s", e.version, err, lastLine(out))
	}
	if err := os.Rename(dir, e.wheel); err != nil && !errors.Is(err, os.ErrExist) {
		if _, again := Find(cacheDir); again != nil { // else another fetch was first
			return Engine{}, fmt.Errorf("keep %s: %w", e.version, err)
		}
	}
	return e, nil
}

const (
	fetching = "fetch-"  // prefix of a folder that a fetch works in
	fetchMax = time.Hour // older ones are of the killed
)

func sweep(cacheDir string) {
	left, _ := filepath.Glob(filepath.Join(cacheDir, fetching+"*"))
	for _, dir := range left {
		if at, err := os.Stat(dir); err == nil && time.Since(at.ModTime()) > fetchMax {
			_ = os.RemoveAll(dir) // only space is lost
		}
	}
}

// fetched is the wheel's place, named by all that is pinned: another pin is
// another folder.
func fetched(cacheDir string) Engine {
	name, _, _ := strings.Cut(pinned, " ")
	name = strings.Replace(name, "==", "-", 1)
	return Engine{version: name, wheel: filepath.Join(cacheDir, fmt.Sprintf("%s-%.4x", name, sha256.Sum256([]byte(pinned))))}
}

func (e Engine) library() string { return filepath.Join(e.wheel, "chdb", "_chdb.abi3.so") }

var versionText = regexp.MustCompile(`version (\d+)\.(\d+)[\d.]*`)

func onPath() (Engine, bool) {
	bin, err := exec.LookPath("clickhouse")
	if err != nil {
		return Engine{}, false
	}
	out, err := exec.Command(bin, "server", "--version").Output()
	m := versionText.FindSubmatch(out)
	if err != nil || m == nil {
		return Engine{}, false
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return Engine{}, false
	}
	return Engine{binary: bin, version: strings.TrimPrefix(string(m[0]), "version ")}, true
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
