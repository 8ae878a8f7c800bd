package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
