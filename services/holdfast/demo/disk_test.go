package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The demo's disks must be real file systems: fsck, which is not ours, has the word.
func TestDisksAreRealExt4(t *testing.T) {
	fsck, err := exec.LookPath("e2fsck")
	if err != nil {
		t.Skip("e2fsck is not installed: nobody but us could judge the file system")
	}
	dir := t.TempDir()
	var files []content
	for i := range 150 {
		from := filepath.Join(dir, fmt.Sprint("f", i))
		if err := os.WriteFile(from, make([]byte, 1+i*4000), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, content{from, fmt.Sprintf("/usr/share/d%d/f%d", i%7, i)})
	}
	image := filepath.Join(dir, "disk.raw")
	if err := makeDisk(image, "demo", 96<<20, files[:100]); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(fsck, "-fn", image).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := changeDisk(image, files[80:]); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(fsck, "-fn", image).CombinedOutput(); err != nil {
		t.Fatalf("after the change: %v\n%s", err, out)
	}
}
