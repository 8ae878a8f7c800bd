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

// tree returns the CPU seconds that pid and all its descendants have spent, and
// the peak memory of the largest of them.
func tree(pid int) (cpu float64, rss int64, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	parent, spent := map[int]int{}, map[int]float64{}
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
			spent[id] += n / ticks
		}
	}
	if _, ok := spent[pid]; !ok {
		return 0, 0, fmt.Errorf("process %d is not there", pid)
	}
	for id := range spent {
		for up := id; up > 1; up = parent[up] {
			if up == pid {
				cpu += spent[id]
				rss = max(rss, peak(id))
				break
			}
		}
	}
	return cpu, rss, nil
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
