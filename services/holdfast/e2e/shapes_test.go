package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// A disk of 8 TiB that holds three words, a machine without a disk and one without
// a file go the walk in one job; then the vault that they left is asked wrongly in
// every way, by who has nothing but its folders.
func TestMachinesOfEveryShape(t *testing.T) {
	t.Parallel()
	u := lay(t, map[string]map[string][]byte{"huge": {}, "hollow": {}, "diskless": {"vm.xml": []byte("<domain/>")}})
	const size = 8 << 40
	words := map[int64]string{0: "begin", size/2 - 3: "across a page", size - 3: "end"}
	huge := filepath.Join(u.images, "huge", "disk0.raw")
	if err := sparse(huge, size, words); err != nil {
		t.Skip("the file system has no files of 8 TiB: ", err)
	}
	u.up(up.Options{Blind: true})
	u.listed(3)
	began := time.Now()
	by := map[string]schemas.BackupCompleted{}
	for _, e := range u.ends("--match", "*") {
		by[e.Machine.Name] = e
	}
	if e := by["huge"]; e.Status != "completed" || e.Bytes.Size != size || e.Bytes.Read > 1<<20 {
		t.Errorf("8 TiB: %s %s, %d bytes of %d were read", e.Status, e.Reason, e.Bytes.Read, e.Bytes.Size)
	}
	if e := by["hollow"]; e.Status != "failed" || e.Attempt != 1 || !strings.Contains(e.Reason, `machine "hollow": nothing to back up: its folder has no file`) {
		t.Errorf("no file: %s in attempt %d, %q", e.Status, e.Attempt, e.Reason)
	}
	if e := by["diskless"]; e.Status != "completed" || strings.Join(e.Warnings, "; ") != "no disk" {
		t.Errorf("no disk: %s %s, warnings %q", e.Status, e.Reason, e.Warnings)
	}
	words[size/4] = "a change"
	u.must(sparse(huge, size, words))
	if ends := u.ends("huge"); ends[0].Status != "completed" || ends[0].Bytes.Fresh != 64<<10 {
		t.Errorf("a change in 8 TiB: %s, %d bytes are fresh", names(ends), ends[0].Bytes.Fresh)
	}
	to, cold := filepath.Join(u.data, "restored"), t.TempDir()
	u.done("restore", "huge", "--to", to)
	u.done("vault", "--at", u.data+"/vault", "restore", "huge", "--to", cold)
	u.holds(filepath.Join(to, "disk0.raw"), size, words)
	u.holds(filepath.Join(cold, "disk0.raw"), size, words)
	if took := time.Since(began); took > patience {
		t.Errorf("8 TiB of nothing took %s", took)
	}
	u.askedWrongly(cold)
}

// sparse writes words into a file, which has holes elsewhere.
func sparse(path string, size int64, words map[int64]string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	for at, word := range words {
		if _, err := f.WriteAt([]byte(word), at); err != nil {
			return err
		}
	}
	return nil
}

// holds wants a file of this size that has these words and takes no more room than they do.
func (u *under) holds(path string, size int64, words map[int64]string) {
	u.t.Helper()
	f, err := os.Open(path)
	u.must(err)
	defer f.Close()
	st, err := f.Stat()
	u.must(err)
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; st.Size() != size || blocks*512 > 1<<20 {
		u.t.Errorf("%s: %d bytes on %d blocks", path, st.Size(), blocks)
	}
	for at, word := range words {
		got := make([]byte, len(word))
		if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, []byte(word)) {
			u.t.Errorf("%s at %d: %q, %v; want %q", path, at, got, err, word)
		}
	}
}

// askedWrongly asks a vault, and a data folder in use, in every way that must be refused.
func (u *under) askedWrongly(restored string) {
	u.t.Helper()
	dir := u.t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		u.must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	at, pass := u.data+"/vault", u.data+"/keys/passphrase"
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"wrong passphrase", 1, []string{"vault", "--at", at, "--passphrase-file", file("wrong", "wrong\n"), "list"}},
		{"is empty", 1, []string{"vault", "--at", at, "--passphrase-file", file("empty", "\n"), "list"}},
		{"no such file", 1, []string{"vault", "--at", at, "--passphrase-file", dir + "/none", "list"}},
		{"too few targets answer: 1, 2 are needed", 1, []string{"vault", "--at", at + "/t2", "--passphrase-file", pass, "list"}},
		{"no target in " + dir, 1, []string{"vault", "--at", dir, "--passphrase-file", pass, "list"}},
		{"no target in /nowhere", 1, []string{"vault", "--at", "/nowhere", "--passphrase-file", pass, "list"}},
		{"lead to one place", 1, []string{"vault", "--at", at + "/t1", "--at", at + "/t1/.", "--passphrase-file", pass, "list"}},
		{"vault needs --at", 2, []string{"vault", "list"}},
		{"restore needs --to", 2, []string{"vault", "--at", at, "restore", "huge"}},
		{`no point "nobody"`, 1, []string{"vault", "--at", at, "restore", "nobody", "--to", dir}},
		{"--force restores over it", 3, []string{"vault", "--at", at, "restore", "huge", "--to", restored}},
		{"in use by another process", 1, []string{"up"}},
		{`{"error":{"code":3,"message":"restore disk0.raw: `, 3, []string{"vault", "--at", at, "restore", "huge", "--to", restored, "-o", "json"}},
	} {
		out, errs, code := u.holdfast(c.args...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			u.t.Errorf("%v: exit %d, %s%s; want %d, %q", c.args, code, out, errs, c.code, c.want)
		}
	}
}
