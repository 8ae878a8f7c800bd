//go:build synctests

package sim

import (
	"io/fs"
	"path/filepath"
	"strings"
	"time"

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

// watch looks all the time whether the share or a source holds more than was
// granted.
func (w *world) watch() {
	for {
		select {
		case <-w.over:
			return
		case <-time.After(time.Second):
		}
		sum := int64(0)
		filepath.WalkDir(filepath.Join(w.dir, "staging", "leases"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if info, err := d.Info(); err == nil {
					sum += info.Size()
				}
			}
			return nil
		})
		w.check(sum <= w.stagingMax(), 9, "%d bytes of leases lie in staging, %d were granted", sum, w.stagingMax())
		for _, s := range w.sites {
			s.mu.Lock()
			n := len(s.open)
			s.mu.Unlock()
			w.check(n <= s.limit+w.strays(), 9, "source %s has %d snapshots open, the limit is %d", s.name, n, s.limit)
		}
	}
}

func (w *world) stagingMax() int64 { return int64(len(w.sites)) * slots * windowBytes }

// strays is how many snapshots may be open beyond a limit.
func (w *world) strays() int { return 0 }
