package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const diskBytes = 8 << 20

// load backs machines up, one backup of each after the other, and changes a machine
// only between its backups: so each point has one content that it must have.
type load struct {
	r      *region
	enough context.CancelFunc // no more orders
	asking sync.WaitGroup

	mu   sync.Mutex
	jobs map[schemas.UUID][32]byte // what the machine's disk was
	ends map[schemas.UUID][]schemas.BackupCompleted
}

func (r *region) load(machines int) *load {
	r.Helper()
	ctx, stop := context.WithCancel(r.Context())
	asking, enough := context.WithCancel(ctx)
	l := &load{r: r, enough: enough, jobs: map[schemas.UUID][32]byte{}, ends: map[schemas.UUID][]schemas.BackupCompleted{}}
	var hearing sync.WaitGroup
	hearing.Go(func() { l.listen(ctx) })
	for i := range machines {
		l.asking.Go(func() { l.machine(asking, i) })
	}
	r.Cleanup(func() { stop(); l.asking.Wait(); hearing.Wait() })
	return l
}

func vm(i int) string { return fmt.Sprint("vm-", i) }

// machine is one machine's life. Half of what a machine is given is new to all.
func (l *load) machine(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(uint64(i), 0))
	disk := append(noise(1, diskBytes/2), noise(uint64(10+i), diskBytes/2)...)
	for round := uint64(0); ctx.Err() == nil; round++ {
		for range 8 {
			copy(disk[rng.IntN(len(disk)-128<<10):], noise(1000+100*uint64(i)+round, 100<<10))
		}
		l.r.write(vm(i), disk)
		job, ok := l.order(vm(i), sha256.Sum256(disk))
		for nap(ctx, 100*time.Millisecond) && ok && len(l.told(job)) == 0 {
		}
	}
}

// order asks for a backup, and says whether that was taken: while no broker is there it
// is not.
func (l *load) order(machine string, sum [32]byte) (job schemas.UUID, ok bool) {
	out, errs, code := l.r.holdfast("backup", machine, "-o", "json")
	var said struct{ Jobs []struct{ ID schemas.UUID } }
	if err := json.Unmarshal([]byte(out), &said); code != 0 || err != nil || len(said.Jobs) != 1 {
		if !strings.Contains(errs, "reach kafka") && !strings.Contains(errs, "timed out") {
			l.r.Errorf("an order is not taken: %s%s", out, errs)
		}
		return job, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[said.Jobs[0].ID] = sum
	return said.Jobs[0].ID, true
}

// listen hears every terminal event, through every broker that falls.
func (l *load) listen(ctx context.Context) {
	for rec, err := range l.r.kafka.Follow(ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			l.r.Errorf("listen: %v", err)
			return
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		var v schemas.BackupCompleted
		if err == nil {
			v, err = schemas.ReadData[schemas.BackupCompleted](e)
		}
		if err != nil {
			l.r.Errorf("listen: %v", err)
			return
		}
		l.mu.Lock()
		l.ends[v.Job.ID] = append(l.ends[v.Job.ID], v)
		l.mu.Unlock()
	}
}

func (l *load) told(job schemas.UUID) []schemas.BackupCompleted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends[job]
}

// ended counts the jobs that have.
func (l *load) ended() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ends)
}

// more waits until n more jobs have ended than now.
func (l *load) more(n int) {
	l.r.Helper()
	n += l.ended()
	l.r.until("more backups", func() string {
		if now := l.ended(); now < n {
			return fmt.Sprintf("%d of %d", now, n)
		}
		return ""
	})
}

// end asks for no more, waits for what was asked, and wants each backup to have ended
// once, completed. What was told again must be the same.
func (l *load) end() {
	r := l.r
	r.Helper()
	l.quiet()
	attempts, repeats := uint32(0), 0
	for job := range l.jobs {
		ends := l.told(job)
		for _, e := range ends {
			if e.Status != "completed" || e.Backup != ends[0].Backup || e.Point != ends[0].Point {
				r.Errorf("job %s: %s %s after attempt %d, and first %s", job, e.Status, e.Reason, e.Attempt, ends[0].Point)
			}
		}
		attempts += ends[0].Attempt - 1
		repeats += len(ends) - 1
	}
	r.Logf("%d backups, each completed once; %d attempts were lost on the way, %d ends told again", len(l.jobs), attempts, repeats)
}

// quiet asks for no more, and waits until all is answered.
func (l *load) quiet() {
	l.r.Helper()
	l.enough()
	l.asking.Wait()
	l.r.until("every job to end", func() string {
		var open []string
		l.mu.Lock()
		defer l.mu.Unlock()
		for job := range l.jobs {
			if len(l.ends[job]) == 0 {
				open = append(open, job.String())
			}
		}
		return strings.Join(open, " ")
	})
}

// restored wants each point, read with nothing but vault and key, to be what the disk
// was when it was asked for.
func (l *load) restored() {
	r := l.r
	r.Helper()
	defer func(began time.Time) {
		r.Logf("%d points restored from the vault alone, all equal: %s", len(l.jobs), time.Since(began).Round(100*time.Millisecond))
	}(time.Now())
	for job, sum := range l.jobs {
		e := l.told(job)[0]
		to := r.TempDir()
		r.done("vault", "--at", filepath.Join(r.dir, "vault"), "restore", e.Backup.String(), "--to", to)
		got, err := os.ReadFile(filepath.Join(to, "disk0.raw"))
		r.must(err)
		if sha256.Sum256(got) != sum {
			r.Errorf("backup %s of %s is not what the disk was", e.Backup, e.Machine.Path())
		}
		r.must(os.RemoveAll(to))
	}
}
