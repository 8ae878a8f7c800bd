package scheduler

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Goal: whatever is repeated, delayed or killed, in any order, the limits hold
// at each step as the exporter counts them, and when the faults stop every
// backup comes to exactly one verdict and nothing stays taken.
// Method: a world of logs and models around the pure state, driven by rapid.
func TestEverythingComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		jobs := 0
		order := func() {
			jobs++
			job := schemas.JobID("/test", fmt.Sprint(jobs))
			for i := range rapid.IntRange(1, 4).Draw(t, "machines") { // few machines, so that some have too many pending
				m := &schemas.Machine{Source: "a", Id: fmt.Sprint("vm-", i)}
				id := schemas.BackupID(job, m.GetSource(), m.GetId())
				w.in[0].log = append(w.in[0].log, &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes(), Of: 1}, Backup: id.Bytes(), Machine: m, SinceMs: w.now.UnixMilli(),
					Tenant: rapid.SampledFrom([]string{"", "t"}).Draw(t, "tenant"), Policy: rapid.SampledFrom([]string{"", "gold"}).Draw(t, "policy"),
					Options: &schemas.Options{Priority: int32(rapid.IntRange(0, 1).Draw(t, "priority")), NotAfterMs: w.now.Add(time.Duration(rapid.IntRange(10, 6000).Draw(t, "minutes")) * time.Minute).UnixMilli()}})
			}
		}
		times := func(f func() bool) {
			for range rapid.IntRange(1, 12).Draw(t, "times") {
				f()
			}
		}
		for range rapid.IntRange(20, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 15).Draw(t, "what") {
			case 0:
				order()
			case 1:
				if jobs > 0 && rapid.Bool().Draw(t, "cancel") {
					job := schemas.JobID("/test", fmt.Sprint(rapid.IntRange(1, jobs).Draw(t, "job")))
					w.in[0].log = append(w.in[0].log, &schemas.BackupQueued{Job: &schemas.Job{Id: job.Bytes()}, Cancel: true})
				}
			case 2:
				if rapid.IntRange(0, 2).Draw(t, "moves") == 0 {
					w.move(rapid.IntRange(0, 3).Draw(t, "machine"))
				}
				if n := len(w.in[0].log); n > 0 { // the intake read the request again
					w.in[0].log = append(w.in[0].log, w.in[0].log[rapid.IntRange(0, n-1).Draw(t, "again")])
				}
			case 3:
				if rapid.IntRange(0, 4).Draw(t, "long") == 0 {
					w.advance(time.Duration(rapid.IntRange(1, 30).Draw(t, "minutes")) * time.Minute)
				}
			case 4:
				w.restart()
			case 5, 6:
				w.advance(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
			case 7, 8, 9:
				times(func() bool { return w.step(rapid.IntRange(0, 2).Draw(t, "input")) })
			case 10:
				times(w.exp.read)
			case 11:
				times(w.aud.read)
			case 12, 13:
				times(func() bool { return w.exp.work(false) })
			case 14, 15:
				times(func() bool { return w.aud.work(false) })
			}
		}
		w.settle()
	})
}
