package clickhouse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that is full leaves what was there, or nothing: half a file would be read
// at every later start.
func TestAFullDiskLeavesNoHalfFile(t *testing.T) {
	dir := t.TempDir()
	size := func(flags uintptr, pages int) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprint("size=", pages*os.Getpagesize()))
	}
	if err := size(0, 4); err != nil {
		t.Skip("no right to mount: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	name, large, small := filepath.Join(dir, "f"), bytes.Repeat([]byte("x"), 8*os.Getpagesize()), []byte("small")
	check := func(want []byte) {
		t.Helper()
		if err := writeWhole(name, large); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a full disk is told as %v", err)
		}
		if got, err := os.ReadFile(name); !bytes.Equal(got, want) || (want == nil) != errors.Is(err, os.ErrNotExist) {
			t.Errorf("%d bytes are left (%v), want %d", len(got), err, len(want))
		}
	}
	check(nil)
	if err := writeWhole(name, small); err != nil {
		t.Fatal(err)
	}
	check(small)
	if err := size(syscall.MS_REMOUNT, 32); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(name, large); err != nil {
		t.Error(err)
	}
}
