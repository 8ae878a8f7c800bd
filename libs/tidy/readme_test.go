package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	lineLink = regexp.MustCompile("\\[`([^`]+)`\\]\\(([^)#]+)#L(\\d+)\\)")
	fileLink = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// screen is how far a line may have moved from where a link leads: who follows
// still sees it.
const screen = 25

// nearest is the line, counted from 1, that holds text and is nearest to at; 0 if none does.
func nearest(src, text string, at int) (found int) {
	for i, l := range strings.Split(src, "\n") {
		if n := i + 1; strings.Contains(l, text) && (found == 0 || max(n-at, at-n) < max(found-at, at-found)) {
			found = n
		}
	}
	return found
}

// The README points at single lines; a reader who follows must find what it says.
func TestREADMELinksLead(t *testing.T) {
	top := root(t)
	for _, page := range []string{"README.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join(top, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fileLink.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(top, m[1])); err != nil {
				t.Errorf("%s links %s: %v", page, m[1], err)
			}
		}
		for _, m := range lineLink.FindAllStringSubmatch(string(text), -1) {
			src, err := os.ReadFile(filepath.Join(top, m[2]))
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			at, _ := strconv.Atoi(m[3])
			if n := nearest(string(src), m[1], at); n == 0 {
				t.Errorf("%s links %s for %q, which is not there", page, m[2], m[1])
			} else if max(n-at, at-n) > screen {
				t.Errorf("%s links %s line %d for %q, which stands in line %d", page, m[2], at, m[1], n)
			}
		}
	}
}
