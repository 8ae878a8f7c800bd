package match

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Selector is a selector, understood. A machine must be all that it says.
type Selector struct {
	source                           string
	name, folder, tag, cluster, host *regexp.Regexp // nil: not asked for
	said                             string
}

// Compile understands a selector. An empty one is an error: it would mean
// everything, which nobody should say by leaving something out.
func Compile(s schemas.Selector) (Selector, error) {
	if s == (schemas.Selector{}) {
		return Selector{}, errors.New(`is empty: for all machines say {"name":"*"}`)
	}
	out := Selector{source: s.Source}
	var said []string
	for _, f := range []struct {
		what, pattern string
		to            **regexp.Regexp
		compile       func(string) (*regexp.Regexp, error)
	}{{"name", s.Name, &out.name, Glob}, {"folder", s.Folder, &out.folder, folderGlob}, {"tag", s.Tag, &out.tag, Glob},
		{"cluster", s.Cluster, &out.cluster, Glob}, {"host", s.Host, &out.host, Glob}} {
		if f.pattern == "" {
			continue
		}
		re, err := f.compile(f.pattern)
		if err != nil {
			return Selector{}, fmt.Errorf("%s: %w", f.what, err)
		}
		*f.to = re
		said = append(said, fmt.Sprintf("%s %q", f.what, f.pattern))
	}
	if s.Source != "" {
		said = append(said, fmt.Sprintf("source %q", s.Source))
	}
	out.said = strings.Join(said, " and ")
	return out, nil
}

// folderGlob takes a folder's path, without the slashes at its ends, and all that
// lies below it.
func folderGlob(pattern string) (*regexp.Regexp, error) {
	return compile(strings.Trim(pattern, "/"), `(/.*)?\z`)
}

// String is what was asked for, for who finds nothing.
func (s Selector) String() string { return s.said }

// Matches reports whether the selector means a machine, as it was found last.
func (s Selector) Matches(m *schemas.MachineFound) bool {
	is := func(re *regexp.Regexp, value string) bool { return re == nil || re.MatchString(value) }
	return (s.source == "" || s.source == m.GetMachine().GetSource()) && is(s.name, m.GetMachine().GetName()) &&
		is(s.folder, strings.Trim(m.GetFolder(), "/")) && is(s.cluster, m.GetCluster()) && is(s.host, m.GetHost()) &&
		(s.tag == nil || slices.ContainsFunc(m.GetTags(), s.tag.MatchString))
}
