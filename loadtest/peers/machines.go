package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// machines is a folder of machines, one disk each, as links to the real disks.
type machines struct {
	disks, dir string
	names      []string
}

func layOut(disks, dir string) (*machines, error) {
	m := &machines{disks: disks, dir: dir}
	found, err := filepath.Glob(filepath.Join(disks, "day1", "*.raw"))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no disks in %s/day1: %v", disks, err)
	}
	for _, f := range found {
		m.names = append(m.names, strings.TrimSuffix(filepath.Base(f), ".raw"))
	}
	return m, m.link("day1")
}

func (m *machines) nextDay() error { return m.link("day2") }

func (m *machines) link(day string) error {
	for _, name := range m.names {
		if err := os.MkdirAll(filepath.Join(m.dir, name), 0o755); err != nil {
			return err
		}
		if err := os.Remove(m.disk(name)); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Link(filepath.Join(m.disks, day, name+".raw"), m.disk(name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *machines) disk(name string) string { return filepath.Join(m.dir, name, "disk.raw") }

// warm reads every disk once.
func (m *machines) warm() error {
	for _, name := range m.names {
		f, err := os.Open(m.disk(name))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// resident is how much of the disks' data lies in the page cache.
func (m *machines) resident() string {
	have, all := 0, 0
	for _, name := range m.names {
		h, n, err := residentPages(m.disk(name))
		if err != nil {
			return err.Error()
		}
		have, all = have+h, all+n
	}
	return fmt.Sprintf("%d %%", 100*have/max(1, all))
}

// residentPages counts the pages of a file that are in memory, of those that lie in
// its data; holes are not counted.
func residentPages(path string) (have, all int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_NONE, unix.MAP_SHARED)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Munmap(b)
	page := os.Getpagesize()
	in := make([]byte, (len(b)+page-1)/page)
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&in[0]))); e != 0 {
		return 0, 0, e
	}
	for at := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err != nil { // no more data
			return have, all, nil
		}
		if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return have, all, nil
		}
		for i := int(from) / page; i < (int(at)+page-1)/page; i++ {
			all++
			have += int(in[i] & 1)
		}
	}
}

// cached is the size of the page cache as the kernel says it.
func cached() string {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Cached:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// size adds up the files below dir whose path match accepts.
func size(dir string, match func(path string) bool) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !match(path) {
			return err
		}
		st, err := d.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
	return n, err
}
