package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Goal: the ledger's engine is killed in the midst of a backup and does not come
// back: the backup completes, and who asks the ledger is told. When the engine can
// start again the house starts it, at the same address, which a stranger had taken, and the ledger has every
// place that the points have, also those of a time when the house was blind. Method:
// the engine's folder is held as another engine would hold it; points are read.
func TestLedgerDies(t *testing.T) {
	u := lay(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 48<<20), "disk1.raw": make([]byte, 9<<20)}, "web-02": {"disk0.raw": noise(2, 20<<20)}})
	stop := u.up(up.Options{Blind: true})
	u.listed(2)
	if ends := u.ends("web-02"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatal("blind: ", names(ends))
	}
	stop()
	u.up(up.Options{})
	at := u.run.Ledger.Addr
	u.ledgerHasAll(1)

	u.write("web-02", "disk0.raw", append(noise(2, 9<<20), noise(3, 12<<20)...)) // some is inherited, in pages that are also cut
	job := strings.TrimSpace(u.done("backup", "--match", "*"))
	u.until("an extent", func() bool {
		blobs, err := filepath.Glob(filepath.Join(u.data, "staging/leases/*/*-*-*"))
		u.must(err)
		return len(blobs) > 0
	})
	from := u.logged()
	u.must(syscall.Kill(u.engine(), syscall.SIGKILL))
	u.says(from, "the ledger's engine ended")
	held, err := os.OpenFile(filepath.Join(u.data, "ledger/data/holdfast.lock"), os.O_RDWR, 0)
	u.must(err)
	u.until("the dead engine's lock", func() bool { return syscall.Flock(int(held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil })
	for name, e := range u.over(job, 2) {
		if e.Status != "completed" || !e.WindowKept {
			t.Errorf("%s: %s %s", name, e.Status, e.Reason)
		}
	}
	if _, errs, code := u.holdfast("ledger", "no-good-backup"); code != 1 || !strings.Contains(errs, "backups go on without the ledger") {
		t.Errorf("a question to a dead ledger: exit %d, %s", code, errs)
	}
	stranger, err := net.Listen("tcp", at)
	u.must(err)
	held.Close()
	u.says(from, "address already in use")
	u.must(stranger.Close())
	u.says(from, "the ledger's engine is there, at "+at)
	run, err := house.ReadRunFile(u.data)
	if u.must(err); run.Ledger == nil || run.Ledger.Addr != at {
		t.Errorf("run.json says the ledger is at %v, it was at %s", run.Ledger, at)
	}
	u.ledgerHasAll(3)
	u.rebuilds(3)
}

// rebuilds loses the whole ledger, and wants the completed backups back from the
// vault, once, as they were told, save what a point does not say.
func (u *under) rebuilds(points int) {
	u.t.Helper()
	ask := func() string {
		return u.done("ledger", "sql", "SELECT * EXCEPT (told_at, done_at, redundancy) FROM ledger.backups WHERE state = 'completed' ORDER BY backup")
	}
	var was string
	u.until("the recorder to be done", func() bool {
		was = ask()
		return strings.Count(was, "\n") == points && strings.Contains(u.done("ledger", "-o", "json", "sql", "SELECT 1"), `"records":0`)
	})
	c := ledger.Config{Addr: u.run.Ledger.Addr}
	var file string
	c.User, file = up.LedgerWriter(u.data)
	c.Secret = house.Secret(file)
	l, err := ledger.Open(c)
	u.must(err)
	defer l.Close()
	if _, err := l.Query(u.t.Context(), "DROP DATABASE ledger SYNC"); err != nil && !strings.Contains(err.Error(), "EOF") {
		u.t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprint(points, "\t", points, "\t0\n"), fmt.Sprint(points, "\t0\t0\n")} {
		if got := u.done("ledger", "rebuild"); got != want {
			u.t.Errorf("rebuild says %q, want %q", got, want)
		}
	}
	if is := ask(); is != was {
		u.t.Errorf("rebuilt is\n%s\nwant\n%s", is, was)
	}
}

// Goal: the ledger's disk is full, at the first start of a house and while it runs.
// The house says so and backs up; with room the engine starts by itself, and the
// ledger has every place. Method: a file system for the ledger alone.
func TestLedgerDiskIsFull(t *testing.T) {
	u := lay(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 5<<20)}})
	disk := u.room(filepath.Join(u.data, "ledger"))
	u.must(os.WriteFile(filepath.Join(disk.dir, "others"), []byte("x"), 0o600)) // to a tmpfs a size of 0 is none
	disk.left(0)
	u.up(up.Options{})
	u.listed(1)
	u.says(0, "the ledger's engine does not start", "no space left on device", "backups go on without it")
	u.backsUp()
	if _, errs, code := u.holdfast("ledger", "no-good-backup"); code != 1 || !strings.Contains(errs, "backups go on") {
		t.Errorf("a question to a ledger that never was: exit %d, %s", code, errs)
	}
	from := u.logged()
	disk.left(roomy)
	u.says(from, "the ledger's engine is there")
	u.ledgerHasAll(1)

	disk.left(0)
	from = u.logged()
	u.backsUp()
	u.says(from, "insert ", "ledger.", "space")
	disk.left(roomy)
	u.ledgerHasAll(2)
}

func (u *under) backsUp() {
	u.t.Helper()
	if ends := u.ends("--match", "*"); len(ends) != 1 || ends[0].Status != "completed" {
		u.t.Error("a backup without a ledger: ", names(ends))
	}
}

// engine is the process id of the ledger's engine: a child of ours that runs in its folder.
func (u *under) engine() int {
	u.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cwd")
	u.must(err)
	for _, link := range all {
		if dir, err := os.Readlink(link); err == nil && dir == filepath.Join(u.data, "ledger/data") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			u.must(err)
			return pid
		}
	}
	u.t.Fatal("no engine runs")
	return 0
}

// ledgerHasAll waits until the ledger has, place by place, what the points of the
// vault have, and then wants no record of places twice.
func (u *under) ledgerHasAll(points int) {
	u.t.Helper()
	want := u.places(points)
	var got map[string]int
	defer func() {
		if u.t.Failed() {
			u.t.Logf("the ledger has %v, the points have %v", got, want)
		}
	}()
	u.until("the ledger to have every place", func() bool {
		got = map[string]int{}
		var answer struct{ Rows []map[string]any }
		out, _, code := u.holdfast("ledger", "-o", "json", "sql", `SELECT toString(lease) AS lease, file_no, toString(sumIf(places, outcome = 'zero')) AS zero,
			toString(sumIf(places, outcome != 'zero')) AS cut
			FROM (SELECT * FROM ledger.chunk_log LIMIT 1 BY lease, file_no, place) GROUP BY lease, file_no`)
		if code != 0 {
			return false
		}
		u.must(json.Unmarshal([]byte(out), &answer))
		for _, r := range answer.Rows {
			cut, _ := strconv.Atoi(r["cut"].(string))
			zero, _ := strconv.Atoi(r["zero"].(string))
			got[fmt.Sprint(r["lease"], " ", r["file_no"], " cut")] = cut
			got[fmt.Sprint(r["lease"], " ", r["file_no"], " zero")] = zero
		}
		return maps.Equal(got, want)
	})
	if out := u.done("ledger", "sql", "SELECT count() - uniqExact(region, kpart, koff, lease, file_no, place) FROM ledger.chunk_log"); out != "0\n" {
		u.t.Errorf("%s places are there twice", out)
	}
}

// places counts the places that points have, by lease, file and kind.
func (u *under) places(points int) map[string]int {
	u.t.Helper()
	c, err := conf.Load(filepath.Join(u.data, "holdfast.yaml"))
	u.must(err)
	targets, err := house.Targets(c)
	u.must(err)
	v, err := vault.Open(u.t.Context(), targets)
	u.must(err)
	ring, err := vault.LoadRing(c.Keys.Dir, vault.MapKey)
	u.must(err)
	r, err := v.Reader(ring)
	u.must(err)
	paths, err := r.Points(u.t.Context())
	u.must(err)
	if len(paths) != points {
		u.t.Fatalf("%d points, want %d", len(paths), points)
	}
	count := map[string]int{}
	for _, path := range paths {
		p, err := r.Point(u.t.Context(), path)
		u.must(err)
		for _, f := range p.Files {
			u.count(r, p, int(f.No), count)
		}
	}
	return count
}

func (u *under) count(r *vault.Reader, p *vault.Point, no int, count map[string]int) {
	f := p.Files[no]
	lease, _ := schemas.UUIDOf(p.Run.Lease)
	name := fmt.Sprint(lease, " ", f.No)
	if f.SizeBytes > 0 {
		count[name+" cut"] += 0
		count[name+" zero"] += 0
	}
	for run := range vault.Runs(p, f) {
		if run.Map.IsZero() {
			grid := uint64(f.GridBytes)
			first, end := uint64(run.First)*64, min(uint64(run.First+run.Count)*64, (f.SizeBytes+grid-1)/grid)
			count[name+" zero"] += int(end - first)
			continue
		}
		var slots []uint32
		for i := range run.Count {
			slots = append(slots, run.Slot+i)
		}
		pages, err := r.Pages(u.t.Context(), run.Map, slots)
		u.must(err)
		for _, page := range pages {
			for _, place := range page.Places {
				switch place.Kind {
				case vault.PlaceChunk:
					count[name+" cut"]++
				case vault.PlaceZero:
					count[name+" zero"]++
				}
			}
		}
	}
}
