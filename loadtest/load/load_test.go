package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

func small() options {
	return options{machines: 3, images: 1, size: 8 << 20, used: 2 << 20, window: 32 << 20, slots: 2, k: 1, m: 1, rounds: 2, change: 0.5}
}

// Goal: the load's own judgement is sound. Method: a round that is right, and one
// harm at a time.
func TestWhatIsNotCompletedInItsWindowIsAFault(t *testing.T) {
	id := func(n byte) schemas.UUID { return schemas.UUID{n} }
	for _, c := range []struct {
		name, want string
		harm       func(map[schemas.UUID]schemas.BackupCompleted)
	}{
		{"right", "", func(map[schemas.UUID]schemas.BackupCompleted) {}},
		{"failed", "failed: no space", func(all map[schemas.UUID]schemas.BackupCompleted) {
			all[id(1)] = schemas.BackupCompleted{Status: "failed", Reason: "no space"}
		}},
		{"late", "took 901 s from its lease", func(all map[schemas.UUID]schemas.BackupCompleted) {
			all[id(1)] = schemas.BackupCompleted{Status: "completed", WindowSeconds: 901}
		}},
		{"missing", "1 of 3 backups have no end", func(all map[schemas.UUID]schemas.BackupCompleted) { delete(all, id(1)) }},
		{"full", "was read in full: another grid", func(all map[schemas.UUID]schemas.BackupCompleted) {
			all[id(1)] = schemas.BackupCompleted{Status: "completed", WindowKept: true, FullReason: "another grid"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := map[schemas.UUID]schemas.BackupCompleted{}
			for n := range byte(3) {
				all[id(n)] = schemas.BackupCompleted{Status: "completed", WindowKept: true, WindowSeconds: float64(n)}
			}
			c.harm(all)
			w := &world{options: small(), report: newReport(small())}
			r := &round{Status: map[string]int{}}
			w.report.Rounds = append(w.report.Rounds, r)
			w.judge(r, 1, all)
			if told := strings.Join(r.Told, "\n"); !strings.Contains(told, c.want) || w.report.right() != (c.want == "") {
				t.Errorf("right: %v, told %q; want %q", w.report.right(), told, c.want)
			}
			if c.want == "" && (r.P50 != 1 || r.Max != 2) {
				t.Errorf("p50 %v, max %v", r.P50, r.Max)
			}
		})
	}
}

// A house that does little but collect garbage is told of.
func TestCollectingIsAFault(t *testing.T) {
	at := func(collected, used float64) sample {
		return sample{series{collectorMetric, "", ""}: 5 + collected, series{programMetric, "", ""}: 70 + used}
	}
	for collected, want := range map[float64]int{1: 0, 3: 1} {
		r := &round{}
		if r.count(at(0, 0), at(collected, 10-collected), nil, nil); r.Faults != want || r.Collector != collected/10 {
			t.Errorf("%v of 10 s: %d faults, share %v", collected, r.Faults, r.Collector)
		}
	}
}

// A restored disk is right if it is what the source's function says, and not with a
// bit more, less or other.
func TestCompare(t *testing.T) {
	w := &world{options: small(), report: newReport(small())}
	disk, err := w.synthetic().Disk("synthetic-00001", 1)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, w.size)
	if err := disk.ReadAt(context.Background(), whole, 0); err != nil {
		t.Fatal(err)
	}
	used, hole := int64(-1), int64(-1)
	disk.Allocated(func(r source.Range) bool { used, hole = r.Off, r.Off+r.Len; return false })
	path := filepath.Join(t.TempDir(), "disk0")
	for name, harm := range map[string]func([]byte) []byte{
		"":               func(b []byte) []byte { return b },
		"a bit":          func(b []byte) []byte { b[used+77] ^= 1; return b },
		"data in a hole": func(b []byte) []byte { b[hole+5] = 1; return b },
		"a hole in data": func(b []byte) []byte { clear(b[used : used+4096]); return b },
		"nothing":        func([]byte) []byte { return nil },
		"another size":   func(b []byte) []byte { return b[:len(b)-1] },
		"an older version": func(b []byte) []byte {
			old, _ := w.synthetic().Disk("synthetic-00001", 0)
			old.ReadAt(context.Background(), b, 0)
			return b
		},
	} {
		b := harm(append([]byte{}, whole...))
		if err := put(path, b, int64(w.size)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.compare(t.Context(), "synthetic-00001", path); (err == nil) != (name == "") {
			t.Errorf("with %q: %v", name, err)
		}
	}
}

// put writes a file; one of no bytes is a hole of that size.
func put(path string, b []byte, size int64) error {
	if err := os.WriteFile(path, b, 0o600); err != nil || b != nil {
		return err
	}
	return os.Truncate(path, size)
}

// The house's configuration is one that it takes.
func TestConfig(t *testing.T) {
	o := small()
	o.work = t.TempDir()
	c, err := o.configure("kafka: {brokers: [\"127.0.0.1:1\"]}\n", o.made())
	if err != nil {
		t.Fatal(err)
	}
	if y := c.Sources[0].Synthetic; y.Machines != 3 || y.Used != 2<<20 || y.VersionFile != o.versionFile() || c.Staging[0].Size != conf.Size(64<<20) {
		t.Errorf("%+v, staging %+v", y, c.Staging)
	}
}

// Metrics of several processes add up by stage and topic, whatever else they are
// labelled with.
func TestMetricsAreSummed(t *testing.T) {
	s := sample{}
	for range 2 {
		err := s.read(io.MultiReader(strings.NewReader("# HELP holdfast_stage_lag_records x\ngo_threads 7\n"),
			strings.NewReader("holdfast_stage_lag_records{stage=\"chunker\",topic=\"local.extents.exported\"} 3\n"),
			strings.NewReader("holdfast_stage_lag_records{stage=\"auditor\",topic=\"local.extents.exported\"} 1\n"),
			strings.NewReader("holdfast_kafka_produce_bytes_total{client_id=\"local.auditor\",node_id=\"0\",topic=\"t\"} 1.5e+06\n")))
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := s[series{lagMetric, "chunker", "local.extents.exported"}]; n != 6 || s.sum(lagMetric) != 8 || s.byStage(produceMetric)["auditor"] != 3e6 {
		t.Errorf("%v", s)
	}
}
