package kafka

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// tended waits until every table was compacted, for real: rows that were written are gone.
func (r *region) tended() {
	r.Helper()
	for _, s := range tables {
		r.until(s.Name+" to be compacted", func() string {
			if len(r.compacted(s)) == 0 {
				return "every row that was written is there"
			}
			return ""
		})
	}
}

// reborn: every process leaves, as for an upgrade, and new ones begin that remember
// nothing. What they know is what the compacted tables tell them: so the copy of a machine has
// no chunk that is new, and a machine goes on from its last point.
func (r *region) reborn(f *fleet, l *load, stages []house.Service) {
	r.Helper()
	for _, p := range f.all() {
		f.leave(p)
	}
	disk, err := os.ReadFile(r.disk(vm(0)))
	r.must(err)
	r.write("copy", disk)
	for _, s := range stages {
		r.must(os.RemoveAll(filepath.Join(r.dir, s.Name+"-a", "index")))
		f.start(s.Name, s.Name+"-a")
	}
	began := time.Now()
	r.until("the copy to be listed", func() string {
		if out := r.done("machines"); !strings.Contains(out, "copy") {
			return out
		}
		return ""
	})
	copied, again := r.backup(l, "copy"), r.backup(l, vm(1))
	if copied.Bytes.Fresh != 0 || copied.Bytes.Known == 0 {
		r.Errorf("the copy of a machine has %d fresh bytes, %d known", copied.Bytes.Fresh, copied.Bytes.Known)
	}
	if again.Bytes.Fresh != 0 {
		r.Errorf("a machine that nobody changed has %d fresh bytes", again.Bytes.Fresh)
	}
	r.Logf("new processes on compacted tables: two backups after %s, nothing fresh", time.Since(began).Round(100*time.Millisecond))
}

// backup backs a machine up that nobody changes.
func (r *region) backup(l *load, machine string) schemas.BackupCompleted {
	r.Helper()
	disk, err := os.ReadFile(r.disk(machine))
	r.must(err)
	job, ok := l.order(machine, sha256.Sum256(disk))
	if !ok {
		r.Fatal("an order is not taken, and all brokers are up")
	}
	r.until("the backup of "+machine, func() string {
		if len(l.told(job)) == 0 {
			return fmt.Sprint("job ", job, " goes on")
		}
		return ""
	})
	e := l.told(job)[0]
	if e.Status != "completed" {
		r.Fatalf("%s is %s: %s", machine, e.Status, e.Reason)
	}
	return e
}
