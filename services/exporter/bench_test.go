package exporter

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
)

// freer stages each extent and frees it at once: what a reading costs without a
// topic, into a file that is used again.
type freer struct {
	share *staging.Share
	n     int
	files map[string]*schemas.BaseFile
}

func (f *freer) extent(_ context.Context, _ *schemas.ExtentExported, blob []byte) error {
	f.n++
	ref, err := f.share.Put("l", "x", blob)
	if err != nil {
		return err
	}
	return f.share.Free(ref)
}

func (f *freer) file(_ context.Context, x *schemas.FileExported) error {
	f.files[x.Key] = &schemas.BaseFile{Key: x.Key, No: x.File, SizeBytes: x.SizeBytes, GridBytes: x.GridBytes}
	return nil
}

func (f *freer) reached(context.Context, *schemas.Cursor) error { return nil }

// BenchmarkRead is the exporter's part of a full and of a second backup, on a
// disk in the page cache. The budget is 0.4-0.7 CPU seconds a GiB (full).
func BenchmarkRead(b *testing.B) {
	const size = 512 << 20
	dir := b.TempDir()
	share, err := staging.Open(filepath.Join(dir, "share"), staging.Options{})
	if err != nil {
		b.Fatal(err)
	}
	os.MkdirAll(filepath.Join(dir, "src", "vm"), 0o700)
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(content)
	if err := os.WriteFile(filepath.Join(dir, "src", "vm", "a.raw"), content, 0o600); err != nil {
		b.Fatal(err)
	}
	src, err := images.Open(filepath.Join(dir, "src"), images.Options{})
	if err != nil {
		b.Fatal(err)
	}
	logs := pagelog.Of(dir, "s", "vm")
	buf := make([]byte, bufBytes(cut.ExtentBytes, cut.GridDefault))
	out := &freer{share: share, files: map[string]*schemas.BaseFile{}}
	read := func(base *pagelog.Log) {
		snap, err := src.Prepare(b.Context(), source.Order{Machine: "vm"})
		if err != nil {
			b.Fatal(err)
		}
		log, err := logs.Create(schemas.UUID{1})
		if err != nil {
			b.Fatal(err)
		}
		defer log.Close()
		r := &reading{run: &schemas.Run{}, snap: snap, grid: cut.GridDefault, log: log, sink: out, now: time.Now, buf: buf, digester: cut.NewDigester([32]byte{}),
			limits: limits{cut.ExtentBytes, cursorBytes, cursorExtents}, digest: base}
		if base != nil {
			r.base = out.files
		}
		if err := r.all(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := log.Seal(); err != nil {
			b.Fatal(err)
		}
	}
	read(nil)
	base, err := logs.Open(schemas.UUID{1})
	if err != nil {
		b.Fatal(err)
	}
	defer base.Close()
	for name, on := range map[string]*pagelog.Log{"full": nil, "second": base} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			var from, to syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &from)
			for b.Loop() {
				read(on)
			}
			syscall.Getrusage(syscall.RUSAGE_SELF, &to)
			cpu := time.Duration(to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano())
			b.ReportMetric(cpu.Seconds()/float64(b.N)/size*(1<<30), "cpu-s/GiB")
		})
	}
}
