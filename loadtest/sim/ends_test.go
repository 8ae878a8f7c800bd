//go:build synctests

package sim

import (
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

const completed = "completed"

// endings holds every terminal word against the others, and against the vault.
func (w *world) endings(points map[string]*vault.Point) {
	w.scribe.mu.Lock()
	defer w.scribe.mu.Unlock()
	for id, all := range w.scribe.ends {
		for _, e := range all {
			w.check(e.Status == all[0].Status, 3, "backup %s is said to be %s and %s", id, all[0].Status, e.Status)
			w.check(e.raw == all[0].raw, 3, "the end of backup %s is told in two ways:\n%s\n%s", id, all[0].raw, e.raw)
		}
		if e := all[0]; e.Status == completed {
			p := points[e.Point]
			w.check(p != nil, 1, "backup %s is completed, and its point %q is not in the vault", id, e.Point)
			w.check(p == nil || schemas.IDText(p.Run.Backup) == id.String(), 1, "point %s is not of backup %s", e.Point, id)
		}
	}
	for _, r := range w.requests {
		if !r.must {
			continue
		}
		n := 0
		for b := range w.scribe.jobs[r.job].backups {
			all := w.scribe.ends[b]
			w.check(all[0].Status == completed, 10, "all is well, and backup %s of %s is %s: %s", b, all[0].Machine.Path(), all[0].Status, all[0].Reason)
			n++
		}
		w.check(n == len(r.machines), 10, "job %s had %d machines, %d backups are told of", r.job, len(r.machines), n)
	}
}

// returns holds what was restored on request against its point's snapshot.
func (w *world) returns(points map[string]*vault.Point) {
	w.scribe.mu.Lock()
	defer w.scribe.mu.Unlock()
	for _, r := range w.restores {
		all := w.scribe.brought[r.id]
		for _, e := range all {
			w.check(e.raw == all[0].raw, 3, "the end of restore %s is told in two ways:\n%s\n%s", r.id, all[0].raw, e.raw)
		}
		if len(all) == 0 || all[0].Status != completed || points[r.point] == nil {
			continue
		}
		for key, d := range w.stateOf(points[r.point]).files {
			names, err := filepath.Glob(filepath.Join(r.dir, key+"*"))
			w.check(err == nil && len(names) == 1, 1, "restore %s: files %v of %s, %v", r.id, names, key, err)
			for _, name := range names {
				got, err := os.ReadFile(name)
				if err == nil {
					err = d.equal(got)
				}
				w.check(err == nil, 1, "restore %s of %s: file %s: %v", r.id, r.point, key, err)
			}
		}
	}
}
