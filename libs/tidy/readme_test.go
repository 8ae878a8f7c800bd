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
			lines := strings.Split(string(src), "\n")
			n, _ := strconv.Atoi(m[3])
			if n > len(lines) || !strings.Contains(lines[n-1], m[1]) {
				for i, l := range lines {
					if strings.Contains(l, m[1]) {
						t.Errorf("%s links %s line %d for %q, which stands in line %d", page, m[2], n, m[1], i+1)
					}
				}
				if !strings.Contains(string(src), m[1]) {
					t.Errorf("%s links %s for %q, which is not there", page, m[2], m[1])
				}
			}
		}
	}
}
