package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A machine restored through the service as qcow2, and from vault and key alone as
// OVA, holds what was backed up: qemu-img compares both with the raw disk.
func TestDisksInOtherFormats(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not here: make deps installs it")
	}
	sparse := make([]byte, 70<<20+512)
	copy(sparse[69<<20:], noise(11, 100_000))
	files := map[string][]byte{"disk0.raw": noise(12, 9<<20), "disk1.raw": sparse, "settings.xml": []byte("<domain/>")}
	u := start(t, map[string]map[string][]byte{"büro 1": files})
	if ends := u.ends("büro 1"); len(ends) != 1 || ends[0].Status != "completed" {
		t.Fatal(names(ends))
	}
	raw := filepath.Join(u.data, "restored", "raw")
	u.done("restore", "büro 1", "--to", raw)
	q := filepath.Join(u.data, "restored", "qcow2")
	u.done("restore", "büro 1", "--to", q, "--as", "qcow2")
	u.same(q+"/settings.xml", files["settings.xml"])
	for _, disk := range []string{"disk0", "disk1"} {
		identical(t, raw+"/"+disk+".raw", "qcow2", q+"/"+disk+".qcow2")
	}
	for _, how := range [][]string{{"restore"}, {"vault", "--at", u.data + "/vault", "restore"}} {
		to := filepath.Join(u.data, "restored", "ova", how[0])
		out, errs, code := u.holdfast(append(how, "büro 1", "--to", to, "--as", "ova")...)
		if code != 0 || !strings.Contains(errs, "warning: the point keeps no OVF descriptor") {
			t.Fatalf("%v: exit %d, %s%s", how, code, out, errs)
		}
		if out, err := exec.Command("tar", "-xvf", to+"/b_ro_1.ova", "-C", to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		u.same(to+"/settings.xml", files["settings.xml"])
		for _, disk := range []string{"disk0", "disk1"} {
			identical(t, raw+"/"+disk+".raw", "vmdk", to+"/"+disk+".vmdk")
		}
		left, err := os.ReadDir(to)
		if err != nil || len(left) != 1+5 {
			t.Errorf("%v leaves %v, %v", how, left, err)
		}
	}
	if _, errs, code := u.holdfast("restore", "büro 1", "--to", raw, "--as", "vhd"); code != 2 || !strings.Contains(errs, "[raw vmdk ova qcow2]") {
		t.Errorf("an unknown format: exit %d, %s", code, errs)
	}
}

func identical(t *testing.T, raw, format, path string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", "compare", "-f", "raw", "-F", format, raw, path).CombinedOutput(); err != nil || string(out) != "Images are identical.\n" {
		t.Errorf("%s: %v: %s", path, err, out)
	}
}
