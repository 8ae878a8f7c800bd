package e2e

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Goal: SIGTERM in mid-backup loses nothing and costs little: exit 0 within the
// grace, /readyz says no at once and /livez yes to the end, and the next start goes
// on with the same attempt, so that the vault holds the machine once and a little. A
// second signal ends the process at once, and it says so. Method: the real binary,
// stopped when its first packs lie in the vault.
func TestAStopInMidBackup(t *testing.T) {
	t.Parallel()
	disk := noise(9, 192<<20)
	u := lay(t, map[string]map[string][]byte{"web": {"disk0.raw": disk}})
	u.configure(up.Options{})
	start := func() *process {
		p := u.process(u.log, "up", "--data", u.data, "--no-ledger")
		u.until("it to be up", func() bool {
			run, err := house.ReadRunFile(u.data)
			u.run = run
			return err == nil && run.PID == p.Process.Pid && answer(strings.Replace(run.Metrics, "metrics", "readyz", 1)) == 200
		})
		return p
	}
	p := start()
	u.listed(1)
	job := strings.TrimSpace(u.done("backup", "web"))
	u.until("the first packs", func() bool { return stored(u) > 8<<20 })
	looked := watchStop(strings.TrimSuffix(u.run.Metrics, "metrics"))
	p.drained()
	if said := looked(); said != "" {
		t.Error(said)
	}
	before := stored(u)
	if strings.Contains(u.done2("jobs", job), "completed") || before > 250<<20 {
		t.Fatalf("it was over before it was stopped: %d bytes are stored", before)
	}
	p = start()
	for _, e := range u.over(job, 1) {
		if e.Status != "completed" || e.Attempt != 1 {
			t.Errorf("%s in attempt %d: %s", e.Status, e.Attempt, e.Reason)
		}
	}
	if n, most := stored(u), int64(len(disk))*3/2*120/100; n > most {
		t.Errorf("%d bytes are stored of a disk of %d, 2+1: the repeat was not small", n, len(disk))
	} else {
		t.Logf("%d MiB were stored at the stop, and %d in the end, of %d", before>>20, n>>20, len(disk)*3/2>>20)
	}
	if code, took := p.stop(syscall.SIGTERM, syscall.SIGINT); code != 130 {
		t.Errorf("told twice: exit %d after %s", code, took)
	}
	u.says(0, "told to stop twice (", "): ends at once") // of two at once the system chooses which comes first
	to := t.TempDir()
	u.done("vault", "--at", u.data+"/vault", "restore", "web", "--to", to)
	u.same(to+"/disk0.raw", disk)
}

// stored is what lies in the vault's packs.
func stored(u *under) (n int64) {
	filepath.WalkDir(filepath.Join(u.data, "vault"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "/packs/") {
			if i, err := d.Info(); err == nil && i.Mode().IsRegular() {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}

func answer(url string) int {
	r, err := http.Get(url)
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// watchStop asks for health until nobody answers any more, and says what was wrong.
func watchStop(base string) (said func() string) {
	var wg sync.WaitGroup
	var wrong string
	wg.Go(func() {
		refused := false
		for {
			live, ready := answer(base+"livez"), answer(base+"readyz")
			switch {
			case live == 0 || ready == 0:
				if !refused {
					wrong = "it never said that it is not ready"
				}
				return
			case live != 200:
				wrong = "it was not live while it drained"
				return
			case refused && ready == 200:
				wrong = "it was ready again while it drained"
				return
			}
			refused = refused || ready == 503
		}
	})
	return func() string { wg.Wait(); return wrong }
}
