package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticks a second, as Linux shows CPU time to programs.
const ticks = 100

// spent is the CPU seconds of a process and of all below it, and the peak memory of
// the largest of them.
type spent struct {
	own, below float64
	rss        int64
}

func (s spent) all() float64 { return s.own + s.below }

func spentBy(pid int) (s spent, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return s, err
	}
	parent, cpu := map[int]int{}, map[int]float64{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent[id], _ = strconv.Atoi(rest[1])
		for _, i := range []int{11, 12, 13, 14} { // own user and system time, and that of ended children
			n, _ := strconv.ParseFloat(rest[i], 64)
			cpu[id] += n / ticks
		}
	}
	if _, ok := cpu[pid]; !ok {
		return s, fmt.Errorf("process %d is not there", pid)
	}
	s.own = cpu[pid]
	for id := range cpu {
		for up := id; up > 1; up = parent[up] {
			if up != pid {
				continue
			}
			if id != pid {
				s.below += cpu[id]
			}
			s.rss = max(s.rss, peak(id))
			break
		}
	}
	return s, nil
}

func peak(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
