package demo

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/vmdk"
)

// equalFolder compares the one raw disk below dir with the machine's.
func (m machine) equalFolder(dir string) error {
	found := ""
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if st, err := d.Info(); err == nil && st.Size() == diskBytes {
			found = path
		}
		return nil
	})
	if err != nil {
		return err
	}
	if found == "" {
		return fmt.Errorf("restored %s: no disk of %d bytes below %s", m.name, diskBytes, dir)
	}
	disk, err := os.Open(found)
	if err != nil {
		return err
	}
	defer disk.Close()
	return m.equal(disk, found)
}

// equalOVA compares the disk in an appliance with the machine's, and returns its size.
func (m machine) equalOVA(dir string) (bytes int64, err error) {
	all, err := filepath.Glob(filepath.Join(dir, "*.ova"))
	if err != nil || len(all) != 1 {
		return 0, fmt.Errorf("restored %s: %d appliances in %s, want 1: %v", m.name, len(all), dir, err)
	}
	f, err := os.Open(all[0])
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if err != nil {
			return 0, fmt.Errorf("%s: no disk in it: %w", all[0], err)
		}
		if !strings.HasSuffix(h.Name, ".vmdk") {
			continue
		}
		raw, err := unpacked(t, filepath.Join(dir, "unpacked.raw"))
		if err != nil {
			return 0, fmt.Errorf("%s: %s: %w", all[0], h.Name, err)
		}
		defer raw.Close()
		return h.Size, m.equal(raw, all[0])
	}
}

// unpacked writes a streamOptimized VMDK to path as a raw disk.
func unpacked(r io.Reader, path string) (*os.File, error) {
	v, err := vmdk.NewReader(r)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(v.Size())
	for err == nil {
		var off int64
		var p []byte
		if off, p, err = v.Next(); err == nil {
			_, err = f.WriteAt(p, off)
		}
	}
	if !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	return f, nil
}
