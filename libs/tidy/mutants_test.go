package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/mutant"
)

// tests are the names of the tests of each package, by its path in the house.
func tests(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	sources(t, func(path string, src []byte) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				all[dir][f.Name.Name] = true
			}
		}
	})
	return all
}

// mutants are those of all lists, by name.
func mutants(t *testing.T) map[string]mutant.Mutant {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(root(t), mutant.Lists))
	if err != nil || len(lists) == 0 {
		t.Fatalf("lists of mutants: %v, %v", lists, err)
	}
	all := map[string]mutant.Mutant{}
	for _, list := range lists {
		some, err := mutant.Read(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range some {
			if _, twice := all[m.Name]; twice {
				t.Errorf("%s: there are two mutants %q", filepath.Base(list), m.Name)
			}
			all[m.Name] = m
		}
	}
	return all
}

// A mutant proves its test only while it can be made: code moves on, and its list
// must. Whether each test falls, `make mutants` finds out.
func TestMutantsCanBeMade(t *testing.T) {
	have := tests(t)
	for _, m := range mutants(t) {
		src, err := os.ReadFile(filepath.Join(root(t), m.File))
		if err != nil {
			t.Errorf("mutant %q: %v", m.Name, err)
			continue
		}
		if _, err := m.Patch(string(src)); err != nil {
			t.Error(err)
		}
		for _, name := range strings.Split(m.Test, "|") {
			if !have[m.Package][name] {
				t.Errorf("mutant %q names %s %s, which is not there", m.Name, m.Package, name)
			}
		}
	}
}
