// Package mutant reads mutants: small breaks of the house, each with the test
// that must fall when it is made. A test that no break makes fall proves nothing.
//
// A list holds any number of them, written as a diff that people write by hand:
//
//	mutant: commit past a hold
//	why: the next owner of the room never sees the record again
//	law: 3, D8
//	file: libs/stage/ledger.go
//	test: libs/stage TestNothingHeldIsCommitted
//	env: SEEDS=5
//	-	for len(l.open) > 0 && l.open[0].left == 0 {
//	+	for len(l.open) > 0 {
//
// Lines of the file begin with '-' (goes), '+' (comes) or a blank (stays, and
// says where); a line "@@" parts two places of one file. What goes and stays is
// whole lines that follow each other in the file, in exactly one place. A line
// that begins with '#' is a remark. env and "@@" may be left out.
package mutant

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// Mutant is one break and the test that must see it.
type Mutant struct {
	Name    string
	Why     string   // what a user would lose
	Laws    []string // "3" is a law of the design, "D8" an invariant of the protocols
	File    string   // path in the house
	Package string   // of the test, as a path in the house
	Test    string   // TestA, or TestA|TestB
	Env     []string // KEY=value, for the test
	Line    int      // in the list, where it begins
	hunks   []hunk
}

// hunk is one place of the file: whole lines, each with its end.
type hunk struct{ was, is strings.Builder }

// maxLine of a list: a line of Go, and a sentence.
const maxLine = 4096

var (
	law  = regexp.MustCompile(`^D?[1-9][0-9]?$`)
	test = regexp.MustCompile(`^Test\w+(\|Test\w+)*$`)
)

// Parse reads a list. An error names the line and means that none of it holds.
func Parse(r io.Reader) (all []Mutant, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	var m *Mutant
	n := 0
	for in.Scan() {
		n++
		line := in.Text()
		if name, ok := strings.CutPrefix(line, "mutant: "); ok {
			if err := m.whole(); err != nil {
				return nil, err
			}
			all = append(all, Mutant{Name: strings.TrimSpace(name), Line: n})
			m = &all[len(all)-1]
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if m == nil {
			return nil, fmt.Errorf("line %d: %q stands before the first mutant", n, line)
		}
		if err := m.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return all, m.whole()
}

func (m *Mutant) add(line string) error {
	switch line[0] {
	case '-', '+', ' ':
		if len(m.hunks) == 0 {
			m.hunks = make([]hunk, 1)
		}
		h := &m.hunks[len(m.hunks)-1]
		if line[0] != '+' {
			h.was.WriteString(line[1:] + "\n")
		}
		if line[0] != '-' {
			h.is.WriteString(line[1:] + "\n")
		}
		return nil
	case '@':
		if line != "@@" || len(m.hunks) == 0 {
			return fmt.Errorf("%q parts nothing", line)
		}
		m.hunks = append(m.hunks, hunk{})
		return nil
	}
	key, value, ok := strings.Cut(line, ": ")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return fmt.Errorf("%q is neither a field nor a line of the file", line)
	}
	return m.set(key, value)
}

func (m *Mutant) set(key, value string) error {
	switch key {
	case "why":
		m.Why = value
	case "law":
		m.Laws = strings.Split(value, ", ")
		for _, l := range m.Laws {
			if !law.MatchString(l) {
				return fmt.Errorf("law %q: want 1 to 13, or D1 to D15", l)
			}
		}
	case "file":
		m.File = value
	case "env":
		m.Env = strings.Fields(value)
	case "test":
		m.Package, m.Test, _ = strings.Cut(value, " ")
		if !test.MatchString(m.Test) {
			return fmt.Errorf("test %q: want a package and TestName, or TestA|TestB", value)
		}
	default:
		return fmt.Errorf("a mutant has no %s", key)
	}
	return nil
}

// whole is nil if nothing is missing; of no mutant, too.
func (m *Mutant) whole() error {
	if m == nil {
		return nil
	}
	if m.Name == "" || m.Why == "" || m.Laws == nil || m.File == "" || m.Test == "" || m.hunks == nil {
		return fmt.Errorf("line %d: mutant %q wants why, law, file, test and the lines that change", m.Line, m.Name)
	}
	for i := range m.hunks {
		if h := &m.hunks[i]; h.was.Len() == 0 || h.was.String() == h.is.String() {
			return fmt.Errorf("line %d: mutant %q changes nothing in place %d", m.Line, m.Name, i+1)
		}
	}
	return nil
}

// Patch is the file as the mutant leaves it. It is an error if what goes stands
// nowhere in src, or in two places: the code has moved on, and the list must too.
func (m *Mutant) Patch(src string) (string, error) {
	for i := range m.hunks {
		was, at, n := m.hunks[i].was.String(), 0, 0
		for from := 0; from < len(src); from += strings.IndexByte(src[from:], '\n') + 1 {
			if strings.HasPrefix(src[from:], was) {
				at, n = from, n+1
			}
			if !strings.Contains(src[from:], "\n") {
				break
			}
		}
		if n != 1 {
			return "", fmt.Errorf("mutant %q: what it changes stands %d times in %s, not once:\n%s", m.Name, n, m.File, was)
		}
		src = src[:at] + m.hunks[i].is.String() + src[at+len(was):]
	}
	return src, nil
}

// Lists are where the house keeps its mutants, from its top folder.
const Lists = "loadtest/mutants/*.mutants"

// Read reads a list from a file.
func Read(path string) ([]Mutant, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}
