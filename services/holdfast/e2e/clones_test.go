package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Fifty clones of one disk are asked for at once, and one of them is cancelled on
// the way. Its unique bytes must lie in the vault once, and the cancelled one must
// stall none: chunks that it had claimed go to those that wait for them.
func TestFiftyClonesStoreOneCopy(t *testing.T) {
	t.Parallel()
	const clones, size = 50, 6 << 20
	disk := noise(1, size)
	machines := map[string]map[string][]byte{}
	for i := range clones {
		machines[fmt.Sprintf("clone-%02d", i)] = map[string][]byte{"disk0.raw": disk}
	}
	machines["cancelled"] = map[string][]byte{"disk0.raw": disk}
	u := start(t, machines)
	lone := strings.TrimSpace(u.done("backup", "cancelled"))
	job := strings.TrimSpace(u.done("backup", "--match", "clone-*"))
	u.done("jobs", "cancel", lone)
	u.until("fifty backups", func() bool {
		return strings.Count(u.done("jobs", job), "\tcompleted\t") == clones
	})
	u.until("the cancelled one to end", func() bool {
		out := u.done("jobs", lone)
		return strings.Contains(out, "\tcancelled\t") || strings.Contains(out, "\tcompleted\t") // it may have been quicker
	})
	var fresh, stored uint64
	cl := u.kafka()
	for _, e := range u.completions(cl, parse(t, job)) {
		fresh, stored = fresh+e.Bytes.Fresh, stored+e.Bytes.Stored
	}
	for _, e := range u.completions(cl, parse(t, lone)) {
		fresh, stored = fresh+e.Bytes.Fresh, stored+e.Bytes.Stored
	}
	if fresh > size*102/100 || stored > size*102/100 {
		t.Errorf("%d bytes were fresh and %d stored, of %d unique ones", fresh, stored, size)
	}
	to := t.TempDir()
	u.done("vault", "--at", u.data+"/vault", "restore", "clone-49", "--to", to)
	u.same(to+"/disk0.raw", disk)
}

// A full, a change, an incremental; a restore through the service and one from
// vault and key alone; disks of every awkward size.
func TestDisksOfEverySize(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"empty.raw": {}, "one.raw": {7}, "short.raw": noise(2, 65536+1), "page.raw": noise(3, 64*65536), "odd.raw": noise(4, 5<<20+4321),
		"zero.raw": make([]byte, 3<<20), "settings.xml": []byte("<domain/>"), "sub dir/ümläut ☂ 🎈.cfg": []byte("x"),
	}
	u := start(t, map[string]map[string][]byte{"odd": files, "no disk": {"a.xml": []byte("a")}})
	if ends := u.ends("odd", "no disk"); len(ends) != 2 || ends[0].Status != "completed" || ends[1].Status != "completed" {
		t.Fatal(names(ends))
	}
	changed := bytes.Clone(files["odd.raw"])
	copy(changed[3<<20:], "another place")
	u.write("odd", "odd.raw", changed)
	ends := u.ends("odd")
	if len(ends) != 1 || ends[0].Bytes.Fresh != 65536 || ends[0].Bytes.Inherited == 0 {
		t.Fatalf("the second backup: %s %+v", names(ends), ends)
	}
	files["odd.raw"] = changed
	// The digests of a base lie in staging, which may be lost: all is read then.
	u.must(os.RemoveAll(u.data + "/staging/pages"))
	u.must(os.Remove(u.images + "/odd/zero.raw"))
	delete(files, "zero.raw")
	if ends = u.ends("odd"); len(ends) != 1 || ends[0].Status != "completed" || ends[0].Bytes.Inherited != 0 || !strings.Contains(ends[0].FullReason, "not known") {
		t.Fatalf("without the digests of the base: %s %+v", names(ends), ends)
	}
	if said := strings.Join(ends[0].Warnings, "; "); !strings.Contains(said, `"zero.raw"`) || !strings.Contains(said, "gone from the machine") {
		t.Errorf("a disk that vanished: warnings %q", said)
	}
	to := u.data + "/restored/odd"
	u.done("restore", "odd", "--to", to)
	cold := t.TempDir()
	u.done("vault", "--at", u.data+"/vault", "restore", "odd", "--to", cold)
	for name, want := range files {
		u.same(to+"/"+name, want)
		u.same(cold+"/"+name, want)
	}
	if _, errs, code := u.holdfast("restore", "odd", "--to", to); code != 3 || !strings.Contains(errs, "is there already") {
		t.Errorf("restored over files: exit %d, %s", code, errs)
	}
	if _, errs, code := u.holdfast("restore", "odd", "--to", t.TempDir()); code != 3 || !strings.Contains(errs, "restore.roots") {
		t.Errorf("restored outside the roots: exit %d, %s", code, errs)
	}
	u.done("restore", "odd", "--to", to, "--force", "--file", "one.raw")
	u.done("verify", "--deep")
}
