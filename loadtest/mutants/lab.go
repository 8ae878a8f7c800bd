package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/mutant"
)

// patience is how long a test may run, broken or not. A break that makes a test
// wait for ever has made it fall; no sound test takes a third of this.
const patience = "4m"

// throws are how often a broken test runs before its mutant is said to live:
// what the scheduler of goroutines throws is no seed's to choose.
const throws = "5"

// lab is where mutants are made and tried, one after another.
type lab struct {
	dir   string           // for broken files and tests built with them
	sound map[string]error // of tests with nothing broken
}

// try says whether the mutant's test fell, and its first words. An error means
// that this was not found out: the test is not sound, or the break does not build.
func (l lab) try(ctx context.Context, m mutant.Mutant) (said string, fell bool, err error) {
	key := fmt.Sprint(m.Package, m.Test, m.Env)
	if _, ok := l.sound[key]; !ok {
		l.sound[key] = l.passes(ctx, m)
	}
	if err := l.sound[key]; err != nil {
		return "", false, err
	}
	overlay, err := l.overlay(m)
	if err != nil {
		return "", false, err
	}
	binary := filepath.Join(l.dir, "broken.test")
	build := exec.CommandContext(ctx, "go", "test", "-tags", "synctests", "-overlay", overlay, "-c", "-o", binary, "./"+m.Package)
	if out, err := build.CombinedOutput(); err != nil {
		return "", false, fmt.Errorf("does not build: %s", bytes.ReplaceAll(bytes.TrimSpace(out), []byte("\n"), []byte("; ")))
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^("+m.Test+")$", "-test.failfast", "-test.count", throws, "-test.timeout", patience)
	cmd.Dir = m.Package
	defer clean(m.Package)()
	// What the test itself builds is as broken as the test.
	cmd.Env = append(append(os.Environ(), m.Env...), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", false, err
	}
	return firstWords(string(out)), err != nil, nil
}

// clean removes what a fallen property test leaves in the tree for its next run:
// draws at which the sound house does not fail.
func clean(pkg string) func() {
	draws := filepath.Join(pkg, "testdata", "rapid", "*", "*.fail")
	before, _ := filepath.Glob(draws) // the pattern is right
	return func() {
		after, _ := filepath.Glob(draws)
		for _, f := range after {
			if slices.Contains(before, f) {
				continue
			}
			for at := f; at != pkg && os.Remove(at) == nil; {
				at = filepath.Dir(at) // a folder that is empty now
			}
		}
	}
}

// passes is nil if the test ran and passed with nothing broken.
func (l lab) passes(ctx context.Context, m mutant.Mutant) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "synctests", "-v", "-timeout", patience, "-run", "^("+m.Test+")$", "./"+m.Package)
	cmd.Env = append(os.Environ(), m.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("falls with nothing broken: %w: %s", err, firstWords(string(out)))
	}
	for _, name := range strings.Split(m.Test, "|") {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			return fmt.Errorf("%s passes without being run: %s", name, firstWords(string(out)))
		}
	}
	return nil
}

// overlay writes the broken file and what tells go of it.
func (l lab) overlay(m mutant.Mutant) (path string, err error) {
	src, err := os.ReadFile(m.File)
	if err != nil {
		return "", err
	}
	broken, err := m.Patch(string(src))
	if err != nil {
		return "", err
	}
	real, err := filepath.Abs(m.File)
	if err != nil {
		return "", err
	}
	copied := filepath.Join(l.dir, "broken.go")
	if err := os.WriteFile(copied, []byte(broken), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {real: copied}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(l.dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

var told = regexp.MustCompile(`(?m)^\s*(\w+_test\.go:\d+: .*|panic: .*|fatal error: .*|--- SKIP: .*|testing: warning: .*)$`)

// firstWords are what a test said first when it fell.
func firstWords(out string) string {
	const most = 140
	var words string
	if m := told.FindStringSubmatch(out); m != nil {
		words = m[1]
	}
	return strings.ToValidUTF8(words[:min(most, len(words))], "")
}
