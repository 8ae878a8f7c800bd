package tidy

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxLines of a file: what is longer is two nouns.
const maxLines = 500

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sources calls f for each hand-written Go file.
func sources(t *testing.T, f func(path string, src []byte)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == ".cache" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		f(rel, src)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreShort(t *testing.T) {
	sources(t, func(path string, src []byte) {
		if n := bytes.Count(src, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines: over %d a file holds two nouns; give each its own", path, n, maxLines)
		}
	})
}

// A simulation bends each process's clock, so a service must have only the one
// that its Env lends it.
func TestServicesHaveOneClock(t *testing.T) {
	sources(t, func(path string, src []byte) {
		if service(path) == "" || service(path) == "holdfast" || strings.HasSuffix(path, "_test.go") {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && (s.Sel.Name == "Now" || s.Sel.Name == "Since" || s.Sel.Name == "Until") {
					t.Errorf("%s: time.%s: a service asks env.Now, the only clock that a simulation can bend", set.Position(s.Pos()), s.Sel.Name)
				}
			}
			return true
		})
	})
}

// What is left to do stands in an issue, where somebody will find it.
func TestNothingIsPromised(t *testing.T) {
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "not " + "implemented"}
	sources(t, func(path string, src []byte) {
		for _, w := range words {
			if bytes.Contains(src, []byte(w)) {
				t.Errorf("%s says %s: open an issue, or do it", path, w)
			}
		}
	})
}
