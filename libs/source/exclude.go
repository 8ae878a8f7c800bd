package source

import (
	"fmt"
	"path"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Excludes reports whether the order leaves a file out. Only disks can be: a
// machine without its settings is no machine. A pattern is a key, a name, or a
// glob (as of path.Match) of the whole key, of its last element or of the name.
func (o Order) Excludes(f File) bool {
	if f.Kind != schemas.FileExported_KIND_DISK {
		return false
	}
	for _, p := range o.Exclude {
		if p == f.Key || p == f.Name || match(p, f.Key) || match(p, path.Base(f.Key)) || match(p, f.Name) {
			return true
		}
	}
	return false
}

// CheckExclude says what is wrong with a pattern. One that is malformed matches
// nothing but itself, which would back up what somebody meant to leave out.
func CheckExclude(pattern string) error {
	if strings.TrimSpace(pattern) == "" {
		return fmt.Errorf("excluded disk %q: empty pattern", pattern)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("excluded disk %q: %w", pattern, err)
	}
	return nil
}

func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
