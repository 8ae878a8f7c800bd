package tidy

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/mutant"
)

const (
	lawsPage   = "ops/docs/laws.md"
	laws       = 13 // of the design
	invariants = 15 // of the protocols
	notBuilt   = "Not built yet"
)

var (
	lawHead = regexp.MustCompile(`(?m)^### (D?\d+)\. .+$`)
	lawTest = regexp.MustCompile("^- \\[`([^`]+)` (Test\\w+)\\]\\(\\.\\./\\.\\./([^)]+)\\)(?:: fell to (.*))?$")
)

// A promise is worth the test that holds it, and a test the break that it saw. The
// page names both for each law and invariant; here it is held against the tree.
func TestEachLawNamesItsTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), lawsPage))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for n := range laws {
		want[fmt.Sprint(n+1)] = true
	}
	for n := range invariants {
		want[fmt.Sprint("D", n+1)] = true
	}
	text := string(page)
	have, known := tests(t), mutants(t)
	heads := lawHead.FindAllStringSubmatchIndex(text, -1)
	for i, h := range heads {
		law, end := text[h[2]:h[3]], len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		if !want[law] {
			t.Errorf("%s: law %s is there twice, or is none", lawsPage, law)
		}
		delete(want, law)
		lawIsHeld(t, law, text[h[1]:end], have, known)
	}
	for law := range want {
		t.Errorf("%s says nothing of law %s", lawsPage, law)
	}
}

// lawIsHeld looks at the lines of one law.
func lawIsHeld(t *testing.T, law, lines string, have map[string]map[string]bool, known map[string]mutant.Mutant) {
	t.Helper()
	fell := 0
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "- ") {
			continue
		}
		m := lawTest.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("law %s: %q: want - [`package` TestName](../../file): fell to *mutant*; *mutant*", law, line)
			continue
		}
		pkg, test, file := m[1], m[2], m[3]
		src, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil || !have[pkg][test] || path.Dir(file) != pkg || !strings.Contains(string(src), "func "+test+"(") {
			t.Errorf("law %s: %s %s is not in %s: %v", law, pkg, test, file, err)
		}
		if m[4] == "" {
			continue
		}
		for name := range strings.SplitSeq(m[4], "; ") {
			fell++
			mut, ok := known[strings.Trim(name, "*")]
			if !ok || mut.Package != pkg || !slices.Contains(strings.Split(mut.Test, "|"), test) || !slices.Contains(mut.Laws, law) {
				t.Errorf("law %s: %s %s fell to %s: no list has that mutant, for that test and that law", law, pkg, test, name)
			}
		}
	}
	if fell == 0 && !strings.Contains(lines, notBuilt) {
		t.Errorf("law %s: no test of it was seen to fall", law)
	}
}
