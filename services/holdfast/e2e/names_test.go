package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

// Machines and files of any name that a file system takes go the whole walk and
// back: each on one line of a listing, none beside the folder it belongs to.
func TestOddNamesComeBack(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	for _, name := range []string{"my disk.raw", "..raw", "...", "a\nb.raw", "\U0001F4BE.raw", "bad\xff\xfe.raw", "sub dir/..x/disk.img",
		`back\slash.raw`, "-rf.raw", "%41.raw", strings.Repeat("n", 251) + ".raw"} {
		files[name] = []byte(name)
	}
	odd := []string{"a machine", "m..", "ma\nchine \U0001F4BE", "bad\xff", "-o"}
	machines := map[string]map[string][]byte{}
	for _, name := range odd {
		machines[name] = files
	}
	u := lay(t, machines)
	u.up(up.Options{Blind: true})
	u.listed(len(odd))
	for _, e := range u.ends("--match", "*") {
		if e.Status != "completed" {
			t.Errorf("%q: %s %s", e.Machine.Name, e.Status, e.Reason)
		}
	}
	if lines := strings.Count(u.done("points"), "\n"); lines != len(odd) {
		t.Errorf("%d points are listed on %d lines", len(odd), lines)
	}
	var listed struct{ Points []struct{ Point string } }
	u.must(json.Unmarshal([]byte(u.done("points", "-o", "json")), &listed))
	for i, p := range listed.Points {
		to := filepath.Join(u.data, "restored", string(rune('a'+i)))
		u.done("restore", p.Point, "--to", to)
		u.holdsOnly(to, files)
	}
	cold := t.TempDir()
	u.done("vault", "--at", u.data+"/vault", "restore", "ma\nchine \U0001F4BE", "--to", cold)
	u.holdsOnly(cold, files)
	for name, want := range map[string]string{"../machines/m..": `"../machines/m.." is no machine`, "a machine/my disk.raw": `is no machine`} {
		if ends := u.ends(name); len(ends) != 1 || ends[0].Status != "refused" || !strings.Contains(ends[0].Reason, want) {
			t.Errorf("backup %q: %s", name, names(ends))
		}
	}
	for _, file := range []string{"../x", "/etc/passwd"} {
		if _, errs, code := u.holdfast("restore", "a machine", "--to", filepath.Join(u.data, "restored", "z"), "--file", file); code != 3 || !strings.Contains(errs, "no file") {
			t.Errorf("restore of file %q: exit %d, %s", file, code, errs)
		}
	}
}

// holdsOnly wants these files in a folder, equal, and no others.
func (u *under) holdsOnly(dir string, files map[string][]byte) {
	u.t.Helper()
	n := 0
	u.must(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	}))
	if n != len(files) {
		u.t.Errorf("%s holds %d files, want %d", dir, n, len(files))
	}
	for name, want := range files {
		u.same(filepath.Join(dir, name), want)
	}
}
