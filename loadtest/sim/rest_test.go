//go:build synctests

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// restMax is how long the house may take to come to rest: five attempts, each given
// up for silence, with their backoffs, and two hunts.
const restMax = 30 * time.Minute

// rest waits until nothing is left to do.
func (w *world) rest(why string) {
	w.t.Helper()
	began := time.Now()
	var left []string
	for time.Since(began) < restMax {
		time.Sleep(2 * time.Second)
		if left = w.restless(); len(left) == 0 {
			return
		}
		if int(time.Since(began)/time.Second)%60 < 2 {
			w.reap(true)
		}
	}
	w.check(false, 10, "no rest in %v after %s: %s", restMax, why, strings.Join(left, "; "))
	w.t.FailNow()
}

// reap takes the dead out of their groups; with force those that are stuck in a
// join, too.
func (w *world) reap(force bool) {
	alive := map[string]bool{}
	for _, o := range w.posts {
		if o.up != nil {
			alive[o.up.name] = true
		}
	}
	for _, stage := range catalogue {
		w.kafka.reap(region+"."+stage, force, func(client string) bool { return alive[client] })
		w.kafka.reap(ghost+"."+stage, force, func(client string) bool { return alive[client] })
	}
}

// restless says what is left to do. What is cheap to ask comes first.
func (w *world) restless() (left []string) {
	if !w.scribe.upToDate() {
		return []string{"the scribe reads"}
	}
	left = append(left, w.unanswered()...)
	for key, row := range rows(w.scribe, topics.MachinesTended) {
		if o := row.GetOpen(); o != nil {
			left = append(left, fmt.Sprintf("machine %q: backup %s attempt %d is %v (%s), slots %d %d %d", key, schemas.IDText(o.GetRun().GetBackup()), o.GetRun().GetAttempt(), o.State, o.Reason, o.SourceSlot, o.RegionSlot, o.ConnectionSlot))
		}
		if n := len(row.GetPending()); n > 0 {
			left = append(left, fmt.Sprintf("machine %q: %d orders are pending", key, n))
		}
	}
	for _, row := range rows(w.scribe, topics.ExportsOpen) {
		if row.Phase != schemas.ExportOpen_PHASE_ENDED || len(row.Older) > 0 {
			left = append(left, fmt.Sprintf("export %s attempt %d is %v, ending %v, %d older, failure %q", schemas.IDText(row.Order.Run.Backup), row.Order.Run.Attempt, row.Phase, row.Ending, len(row.Older), row.Failure))
		}
	}
	for _, s := range w.sites {
		for _, name := range s.left() {
			left = append(left, "snapshot "+name)
		}
	}
	left = append(left, w.staged()...)
	if len(left) == 0 {
		for stage, streams := range w.reading() {
			left = append(left, w.kafka.behind(region+"."+stage, streams)...)
		}
	}
	return left
}

// unanswered are requests without an end.
func (w *world) unanswered() (left []string) {
	w.scribe.mu.Lock()
	defer w.scribe.mu.Unlock()
	for _, r := range w.requests {
		if len(w.scribe.ends[r.job]) > 0 { // refused as a whole
			continue
		}
		j := w.scribe.jobs[r.job]
		if j == nil || j.of == 0 || len(j.backups) < int(j.of) {
			left = append(left, fmt.Sprintf("job %s is not heard of", r.job))
			continue
		}
		for b := range j.backups {
			if len(w.scribe.ends[b]) == 0 {
				left = append(left, fmt.Sprintf("backup %s of job %s has no end", b, r.job))
			}
		}
	}
	for _, r := range w.restores {
		if len(w.scribe.brought[r.id]) == 0 {
			left = append(left, fmt.Sprintf("restore %s has no end", r.id))
		}
	}
	return left
}

// reading is what each stage reads, as it was declared.
func (w *world) reading() map[string][]topics.Spec {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.streams)
}

// tell says all that a failure needs.
func (w *world) tell() {
	w.t.Helper()
	w.t.Logf("replay with: SEED=%d go test -tags synctests ./loadtest/sim -v", w.seed)
	w.mu.Lock()
	story := slices.Clone(w.story)
	w.mu.Unlock()
	for _, o := range w.posts {
		w.t.Logf("post %s: %v", o.name, o.stages)
	}
	w.t.Logf("what was done:\n  %s", strings.Join(story, "\n  "))
	w.t.Logf("exports that are left:\n%s", strings.Join(w.histories(), "\n"))
	w.t.Logf("the last words:\n%s", strings.Join(w.ear.last(), ""))
}
