package up

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Goal: a first start on a disk that is full says so, and leaves nothing half
// written that the next start, with room, takes for a configuration, a version or
// a key. Method: a file system of one page more at each try, until it is enough.
func TestAFirstStartOnAFullDisk(t *testing.T) {
	for pages, enough := 1, false; !enough; pages++ {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			o := options(t)
			o.Targets = []string{t.TempDir(), t.TempDir(), t.TempDir()}
			if err := os.Mkdir(o.Data, 0o700); err != nil {
				t.Fatal(err)
			}
			size := func(flags uintptr, bytes int) error {
				return syscall.Mount("tmpfs", o.Data, "tmpfs", flags, fmt.Sprint("size=", bytes))
			}
			if err := size(0, pages*os.Getpagesize()); err != nil {
				enough = true
				t.Skip("no right to mount: ", err)
			}
			t.Cleanup(func() { syscall.Unmount(o.Data, 0) })
			start := func() error {
				f, err := openFolder(o.Data)
				if err != nil {
					return err
				}
				defer f.close()
				_, err = begin(t, o)
				return err
			}
			err := start()
			if enough = err == nil; enough {
				return
			}
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), o.Data) {
				t.Errorf("a full disk is told as %v", err)
			}
			if err := size(syscall.MS_REMOUNT, 1<<20); err != nil {
				t.Fatal(err)
			}
			if err := start(); err != nil {
				t.Errorf("the next start, with room: %v", err)
			}
		})
	}
}
