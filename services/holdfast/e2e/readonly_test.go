package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// readOnly makes a room's file system one that can only be read, or back again, as
// Linux does to a disk that erred.
func (r *room) readOnly(yes bool) {
	r.u.t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if yes {
		flags |= syscall.MS_RDONLY
	}
	r.u.until("nobody to write there", func() bool { return syscall.Mount("tmpfs", r.dir, "tmpfs", flags, fmt.Sprint("size=", roomy)) == nil })
}

// inodes bounds how many files a room may hold beside those that it has; 0: any number.
func (r *room) inodes(more uint64) {
	r.u.t.Helper()
	n := uint64(1 << 20)
	if more > 0 {
		var st syscall.Statfs_t
		r.u.must(syscall.Statfs(r.dir, &st))
		n = st.Files - st.Ffree + more
	}
	r.u.must(syscall.Mount("tmpfs", r.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", roomy, ",nr_inodes=", n)))
}

// One target's disk can only be read, and another's share is not mounted, so that the
// folder under it lies there, empty and writable; then the staging share can only be
// read; then it has no more inodes. Each time a machine is backed up the house says
// which and waits, nothing is put into the empty folder, and when it is over the
// backup completes, and all of it can be restored.
func TestReadOnlyAndUnmounted(t *testing.T) {
	machines := map[string]map[string][]byte{}
	for i, name := range []string{"targets", "staging", "inodes"} {
		machines[name] = map[string][]byte{"d.raw": noise(byte(21+i), 20<<20)}
	}
	u := lay(t, machines)
	dir := t.TempDir()
	staging, target, mounted, there := filepath.Join(dir, "staging"), filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "there")
	share, store := u.room(staging), u.room(target)
	u.must(os.MkdirAll(mounted, 0o755))
	u.must(os.MkdirAll(there, 0o755))
	mount := func() { u.t.Helper(); u.must(syscall.Mount(there, mounted, "", syscall.MS_BIND, "")) }
	mount()
	t.Cleanup(func() { syscall.Unmount(mounted, syscall.MNT_DETACH) })
	u.configure(up.Options{Targets: []string{target, mounted, filepath.Join(dir, "c")}},
		"{share: staging, size: 2GiB, window: 512MiB}", "{share: "+staging+", size: 256MiB, window: 32MiB}")
	u.up(up.Options{Blind: true})
	u.listed(len(machines))
	backup := func(name string, words ...string) (job string) {
		t.Helper()
		from := u.logged()
		job = strings.TrimSpace(u.done("backup", name))
		u.says(from, words...)
		return job
	}

	store.readOnly(true)
	u.must(syscall.Unmount(mounted, 0))
	job := backup("targets", "target is down", "read-only file system", "is the share mounted?")
	u.until("the command line to say what is waited for", func() bool { return strings.Contains(u.done("jobs", job), "target t") })
	if all, err := os.ReadDir(mounted); err != nil || len(all) > 0 {
		t.Errorf("the folder under the share got %v, %v", all, err)
	}
	store.readOnly(false)
	mount()
	u.completed(job)

	share.readOnly(true)
	job = backup("staging", "read-only file system")
	share.readOnly(false)
	u.completed(job)

	share.inodes(1)
	job = backup("inodes", "no space left on device")
	share.inodes(0)
	u.completed(job)

	u.done("verify", "--deep")
	for name, files := range machines {
		to := filepath.Join(t.TempDir(), name)
		u.done("vault", "--at", target, "--at", mounted, "restore", name, "--to", to)
		u.same(to+"/d.raw", files["d.raw"])
	}
}
