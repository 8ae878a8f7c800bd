package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/policy"
	"github.com/holdfast-backup/holdfast/schemas"
)

// readPolicies reads a file of policies, as people write them: YAML, a document each,
// with the fields of the event, and machinesFrom, a file of machines a line, whose path
// is taken from the folder of the file. - is standard input.
func (a *app) readPolicies(path string) (all []*policy.Policy, err error) {
	b, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	docs, err := conf.Documents(b)
	if err != nil {
		return nil, refused(fmt.Errorf("%s: %w", path, err))
	}
	names := map[string]bool{}
	for i, raw := range docs {
		p, err := policyOf(raw, filepath.Dir(path))
		if err == nil && names[p.Name] {
			err = fmt.Errorf("name: %q is there twice", p.Name)
		}
		if err != nil {
			return nil, refused(fmt.Errorf("%s: policy %d: %s", path, i+1, strings.TrimPrefix(strings.TrimPrefix(err.Error(), "data."), "data: ")))
		}
		names[p.Name] = true
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, refused(fmt.Errorf("%s: has no policy", path))
	}
	return all, nil
}

func (a *app) readFile(path string) (b []byte, err error) {
	if path == "-" {
		b, err = io.ReadAll(a.in)
	} else {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	return b, nil
}

// machinesFrom is the one field that a file has and an event has not.
const machinesFrom = "machinesFrom"

func policyOf(raw json.RawMessage, dir string) (*policy.Policy, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	var names []string
	if file, ok := fields[machinesFrom]; ok {
		var list string
		if err := json.Unmarshal(file, &list); err != nil || list == "" {
			return nil, fmt.Errorf("%s: want the path of a file, have %s", machinesFrom, file)
		}
		if !filepath.IsAbs(list) {
			list = filepath.Join(dir, list)
		}
		var err error
		if names, err = readList(list); err != nil {
			return nil, fmt.Errorf("%s: %w", machinesFrom, err)
		}
		delete(fields, machinesFrom)
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	d, err := schemas.ReadData[schemas.PolicyDeclared](schemas.Event{Type: schemas.TypePolicyDeclared, Data: data})
	if err != nil {
		return nil, err
	}
	if d.Dropped {
		return nil, errors.New("dropped: a file says what a policy is; to end one: holdfast policies drop NAME")
	}
	d.Machines = append(d.Machines, names...)
	return policy.Compile(d)
}

// readList reads names, one a line: # begins a comment where a line or a space is
// before it, lines may end as they do on Windows, and a name counts once.
func readList(path string) (names []string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // as Windows marks UTF-8
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		for i := range line {
			if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
				line = strings.TrimSpace(line[:i])
				break
			}
		}
		if line != "" && !seen[line] {
			seen[line] = true
			names = append(names, line)
		}
	}
	if len(names) == 0 {
		return nil, usage(fmt.Errorf("%s names no machine", path))
	}
	return names, nil
}
