package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// room is a small file system of a test, which can be filled and emptied at once.
type room struct {
	u   *under
	dir string
}

const roomy = 512 << 20

func (u *under) room(dir string) *room {
	u.t.Helper()
	u.must(os.MkdirAll(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", roomy)); err != nil {
		u.t.Skip("no right to mount: ", err)
	}
	u.t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return &room{u, dir}
}

// left gives the room so many free bytes, and no more.
func (r *room) left(bytes int64) {
	r.u.t.Helper()
	var st syscall.Statfs_t
	r.u.must(syscall.Statfs(r.dir, &st))
	used := (int64(st.Blocks) - int64(st.Bfree)) * st.Bsize
	r.u.must(syscall.Mount("tmpfs", r.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", used+bytes)))
}

// says waits until the log, from a place on, has these words.
func (u *under) says(from int64, words ...string) {
	u.t.Helper()
	u.until(fmt.Sprint("the log to say ", words), func() bool {
		b, err := os.ReadFile(u.log)
		u.must(err)
		for _, w := range words {
			if !strings.Contains(string(b[from:]), w) {
				return false
			}
		}
		return true
	})
}

func (u *under) logged() int64 {
	st, err := os.Stat(u.log)
	u.must(err)
	return st.Size()
}

// The disk of the staging share, then of a target, then of the data folder (the
// broker's log, the index) is full while machines are backed up. Each time the
// house says which and waits, or the command line refuses; with room it goes on,
// and what comes back is equal. While the target is full, images are harmed under
// their reading: who lost bytes has failed and says what, which and why.
func TestFullDisks(t *testing.T) {
	t.Parallel()
	disk := noise(1, 64<<20)
	one := map[string][]byte{"disk0.raw": disk, "disk1.raw": []byte("small")}
	u := lay(t, map[string]map[string][]byte{"steady": one, "shrinks": one, "vanishes": one, "grows": one,
		"staged": {"disk0.raw": noise(2, 20<<20)}, "logged": {"disk0.raw": noise(3, 20<<20)}})
	staging, target, second, third := filepath.Join(t.TempDir(), "staging"), t.TempDir(), t.TempDir(), t.TempDir()
	data := u.room(u.data)
	share, store := u.room(staging), u.room(target)
	u.configure(up.Options{Targets: []string{target, second, third}},
		"{share: staging, size: 2GiB, window: 512MiB}", "{share: "+staging+", size: 256MiB, window: 32MiB}",
		"restore:", "stages: {scheduler: {attempts: 1}}\nrestore:")
	u.up(up.Options{Blind: true})
	u.listed(6)

	share.left(4 << 20)
	from := u.logged()
	job := strings.TrimSpace(u.done("backup", "staged"))
	u.says(from, "staging share is full: the export waits")
	share.left(roomy)
	u.completed(job)

	store.left(0)
	from = u.logged()
	job = strings.TrimSpace(u.done("backup", "steady", "shrinks", "vanishes", "grows"))
	u.says(from, "target is down", "store is full")
	u.until("the command line to say what is waited for", func() bool {
		return strings.Contains(u.done("jobs", job), "target t1")
	})
	u.until("windows to be full", func() bool {
		blobs, err := filepath.Glob(staging + "/leases/*/*-*-*")
		u.must(err)
		return len(blobs) == 4*2 // 32 MiB are two extents of 16 MiB
	})
	u.must(os.Truncate(filepath.Join(u.images, "shrinks", "disk0.raw"), 50<<20))
	u.must(os.Remove(filepath.Join(u.images, "vanishes", "disk1.raw")))
	u.must(os.Truncate(filepath.Join(u.images, "grows", "disk0.raw"), 65<<20))
	store.left(roomy)
	ends := u.over(job, 4)
	for name, want := range map[string][2]string{
		"steady":   {"completed", ""},
		"shrinks":  {"failed", `machine "shrinks": file "disk0.raw": shrank to 52428800 bytes while it was read, it had 67108864`},
		"vanishes": {"failed", `machine "vanishes": file "disk1.raw": vanished since it was listed`},
		"grows":    {"completed", `changed while it was read: "disk0.raw" grew from 67108864 to 68157440 bytes`},
	} {
		e := ends[name]
		said := e.Reason + strings.Join(e.Warnings, "; ")
		if want[0] == "failed" && e.Status == "completed" {
			want[0] = "completed" // its attempt ended before the target's return was heard, so it was not the one of one
		}
		if e.Status != want[0] || !strings.Contains(said, want[1]) || (name == "grows") != (e.Consistency == "fuzzy") {
			t.Errorf("%s: %s, %s, %q; want %q", name, e.Status, e.Consistency, said, want)
		}
	}

	job = strings.TrimSpace(u.done("backup", "logged"))
	data.left(0)
	names := filepath.Join(t.TempDir(), "names") // an order too long for what a page has left
	u.must(os.WriteFile(names, []byte(strings.Repeat(strings.Repeat("n", 1000)+"\n", 20)), 0o600))
	if _, errs, code := u.holdfast("backup", "--from", names); code != 1 || !strings.Contains(errs, "publish to backups.requested: ") || !strings.Contains(errs, "disk") {
		t.Errorf("an order while the broker's disk is full: exit %d, %s", code, errs)
	}
	data.left(roomy)
	u.over(job, 1) // the attempt may have been lost; that it ended must be told
	u.until("a backup, with room", func() bool { _, _, code := u.holdfast("backup", "logged", "--wait"); return code == 0 })
	u.done("verify", "--deep")
	for name, want := range map[string][]byte{"steady": disk, "grows": disk, "staged": noise(2, 20<<20), "logged": noise(3, 20<<20)} {
		to := filepath.Join(t.TempDir(), name)
		u.done("vault", "--at", second, "--at", third, "restore", name, "--to", to) // without the target that was full
		u.must(os.Truncate(to+"/disk0.raw", int64(len(want))))                      // what it grew by is zero
		u.same(to+"/disk0.raw", want)
	}
}

// completed waits until a job of one machine has.
func (u *under) completed(job string) {
	u.t.Helper()
	for _, e := range u.over(job, 1) {
		if e.Status != "completed" {
			u.t.Errorf("%s: %s %s", e.Machine.Name, e.Status, e.Reason)
		}
	}
}

// over waits for the ends of a job of n machines.
func (u *under) over(job string, n int) map[string]schemas.BackupCompleted {
	u.t.Helper()
	cl, by := u.kafka(), map[string]schemas.BackupCompleted{}
	u.until("a job to end", func() bool {
		for _, e := range u.completions(cl, parse(u.t, job)) {
			by[e.Machine.Name] = e
		}
		return len(by) == n
	})
	return by
}
