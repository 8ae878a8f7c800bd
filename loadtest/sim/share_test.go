//go:build synctests

package sim

import (
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// orderName is what the exporter calls a lease's snapshot.
func orderName(backup, lease []byte) string {
	return "holdfast-" + schemas.IDText(backup) + "-" + schemas.IDText(lease)
}

// staged is what lies in the staging share and should not at rest: leases, and logs
// of pages that are not whole.
func (w *world) staged() (left []string) {
	dir := filepath.Join(w.dir, "staging")
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err == nil && (strings.HasPrefix(rel, "leases/") || strings.HasPrefix(rel, "pages/") && strings.HasSuffix(rel, ".open")) {
			left = append(left, "staging "+rel)
		}
		return nil
	})
	return left
}
