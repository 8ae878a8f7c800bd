package conf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Finding is one thing that is wrong with a file: where, which and why.
type Finding struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // 0: not known
	Path    string `json:"path,omitempty"` // vault.targets[1].path
	Message string `json:"message"`
}

func (f Finding) String() string {
	var at []string
	if f.File != "" {
		at = append(at, f.File)
	}
	if f.Line > 0 {
		at = append(at, fmt.Sprint(f.Line))
	}
	head := strings.Join(at, ":")
	if f.Path != "" {
		head = strings.TrimPrefix(head+": "+f.Path, ": ")
	}
	return strings.TrimPrefix(head+": "+f.Message, ": ")
}

func (f Finding) Error() string { return f.String() }

// Findings is all that is wrong with one configuration.
type Findings []Finding

func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// misread is a scalar that says nothing; it knows where it stands.
type misread struct {
	Finding
}

func (m misread) Error() string { return m.String() }

func at(n ast.Node, err error) error {
	if err == nil {
		return nil
	}
	return misread{Finding{Line: n.GetToken().Position.Line, Path: strings.TrimPrefix(n.GetPath(), "$."), Message: err.Error()}}
}

// found turns what the decoder says into a finding.
func found(file string, err error) Finding {
	f := Finding{File: file, Message: strings.TrimSpace(err.Error())}
	if m, ok := errors.AsType[misread](err); ok {
		m.File = file
		return m.Finding
	}
	var bad yaml.Error
	if errors.As(err, &bad) {
		f.Message = bad.GetMessage()
		if t := bad.GetToken(); t != nil && t.Position != nil {
			f.Line = t.Position.Line
		}
	}
	if name, ok := unknownField(f.Message); ok {
		f.Message = fmt.Sprintf("unknown field %q", name)
	}
	return f
}

func unknownField(msg string) (string, bool) {
	_, rest, ok := strings.Cut(msg, `unknown field "`)
	if !ok {
		return "", false
	}
	return strings.TrimRight(rest, `"`), true
}

// line finds where a path stands in the file; if it is not there, its parent.
func line(src []byte, path string) int {
	for path != "" {
		p, err := yaml.PathString("$." + path)
		if err != nil {
			return 0
		}
		if node, err := p.ReadNode(strings.NewReader(string(src))); err == nil && node != nil && node.GetToken() != nil {
			return node.GetToken().Position.Line
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
	return 0
}
