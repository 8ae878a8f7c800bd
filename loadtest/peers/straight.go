package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

// straight is the straight-line program. It does both days in one process, which
// knows in the second what it stored in the first; so Full runs it and Second only
// tells. The inputs of both were read before it began.
type straight struct {
	binary, dir, compression string
	m                        *machines
	second                   *figure
}

func (s *straight) Name() string { return "straight" }
func (s *straight) Close() error { return nil }

func (s *straight) Full(ctx context.Context) (figure, error) {
	days := make([]string, 2)
	for i, day := range []string{"day1", "day2"} {
		days[i] = filepath.Join(s.dir, day)
		m, err := layOut(s.m.disks, days[i])
		if err == nil {
			err = m.link(day)
		}
		if err == nil {
			err = m.warm()
		}
		if err != nil {
			return figure{}, err
		}
	}
	run := exec.CommandContext(ctx, s.binary, append([]string{"-vault", filepath.Join(s.dir, "vault"), "-compression", cmp.Or(s.compression, "zstd-fastest")}, days...)...)
	out, err := run.Output()
	if err != nil {
		return figure{}, fmt.Errorf("%v: %w", run.Args, err)
	}
	var got [2]figure
	lines := json.NewDecoder(bytes.NewReader(out))
	stored := int64(0)
	for i := range got {
		var f struct {
			Wall   float64 `json:"wall_s"`
			CPU    float64 `json:"cpu_s"`
			Stored int64   `json:"stored_bytes"`
		}
		if err := lines.Decode(&f); err != nil {
			return figure{}, fmt.Errorf("%s: day %d: %w", s.binary, i+1, err)
		}
		stored += f.Stored
		got[i] = figure{Wall: f.Wall, CPU: f.CPU, RSS: run.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, Bytes: stored, Parity: stored * (k + parityShards) / k}
	}
	s.second = &got[1]
	return got[0], nil
}

func (s *straight) Second(context.Context) (figure, error) { return *s.second, nil }

func (s *straight) Restore(context.Context, string) (figure, string, error) {
	return figure{}, "", errNone
}
