// Package torntest harms files as crashes and disks do, for tests of whoever reads
// them back: what was harmed is mended or refused, and never read as whole.
package torntest

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Crashes yields what a crash may leave of a file of these bytes, by name: cut
// short, with its end or a block of its middle not written, which reads as zeros, or
// longer than it was. Each is fresh, no two are equal, none equals b.
func Crashes(b []byte) iter.Seq2[string, []byte] { return harm(b, crashes) }

// Ways yields Crashes, and what a disk does: a bit is another.
func Ways(b []byte) iter.Seq2[string, []byte] { return harm(b, slices.Concat(crashes, flips)) }

func harm(b []byte, ways []way) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		seen := map[string]bool{string(b): true}
		for _, w := range ways {
			how, harmed := w(bytes.Clone(b))
			if seen[string(harmed)] {
				continue
			}
			seen[string(harmed)] = true
			if !yield(how, harmed) {
				return
			}
		}
	}
}

type way func(b []byte) (how string, harmed []byte)

var (
	crashes = []way{cut(0), cut(3), cut(2), cut(-1), zeros(0), zeros(2), zeros(-16), hole, longer}
	flips   = []way{flip(0), flip(4), flip(2), flip(-1)}
)

// at is a place in n bytes: a share of them, counted from the end if negative.
func at(n, part int) int {
	switch {
	case part < 0:
		return max(0, n+part)
	case part == 0:
		return 0
	}
	return n / part
}

func cut(part int) way {
	return func(b []byte) (string, []byte) {
		n := at(len(b), part)
		return fmt.Sprint("cut to ", n), b[:n]
	}
}

func zeros(part int) way {
	return func(b []byte) (string, []byte) {
		n := at(len(b), part)
		clear(b[n:])
		return fmt.Sprint("zeros from ", n), b
	}
}

func flip(part int) way {
	return func(b []byte) (string, []byte) {
		n := at(len(b), part)
		if n < len(b) {
			b[n] ^= 1 << (n % 7)
		}
		return fmt.Sprint("a bit at ", n), b
	}
}

func hole(b []byte) (string, []byte) {
	n := len(b) / 3
	clear(b[n : n+(len(b)+7)/8])
	return "a hole", b
}

func longer(b []byte) (string, []byte) { return "zeros behind", append(b, make([]byte, 64)...) }

// Each runs f once for each of the ways (Ways or Crashes) in which a file below dir
// can be harmed: on a copy of dir, in which one file is. Empty files can't be, and
// none is that skip names.
func Each(t *testing.T, dir string, ways func([]byte) iter.Seq2[string, []byte], skip func(name string) bool, f func(t *testing.T, dir string, harmed string)) {
	t.Helper()
	files := tree(t, dir)
	if len(files) == 0 {
		t.Fatalf("%s has no file to harm", dir)
	}
	for name, b := range files {
		if len(b) == 0 || skip(name) {
			continue
		}
		for how, harmed := range ways(b) {
			t.Run(name+", "+how, func(t *testing.T) {
				to := filepath.Join(t.TempDir(), "copy")
				if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(to, name), harmed, 0o600); err != nil {
					t.Fatal(err)
				}
				f(t, to, name)
			})
		}
	}
}

func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			files[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
