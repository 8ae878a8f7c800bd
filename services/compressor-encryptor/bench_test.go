package sealer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/shard"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// cpu is what the process used, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSeal seals an extent of 16 MiB out of staging into the sealed area, with
// all that the stage does but Kafka, on one worker: read, name, compress, seal, hash,
// write. The data is this very program: code, tables and text, as disks have them.
// cpu-s/GiB is all of it, of which press-s/GiB is the compressor alone.
func BenchmarkSeal(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for len(data) < vault.PackBytes {
		data = append(data, data...)
	}
	var chunks [][]byte
	for at := 0; at < vault.PackBytes; at += cut.GridDefault {
		chunks = append(chunks, data[at:at+cut.GridDefault])
	}
	for _, m := range seal.Methods {
		b.Run(string(m), func(b *testing.B) { benchmark(b, m, chunks) })
	}
}

func benchmark(b *testing.B, m seal.Method, chunks [][]byte) {
	w := newWorld(b, 0)
	deps := w.deps(m)
	t, err := newTool(deps)
	if err != nil {
		b.Fatal(err)
	}
	e := &engine{env: stage.Env{Now: time.Now, Log: slog.Default()}, deps: deps, ctx: context.Background()}
	var refs []ref
	for _, r := range w.extent(b, 1, 0, 4, chunks...) {
		rec := &record{msg: r}
		for n := range r.Refs.Places {
			refs = append(refs, ref{rec, n})
		}
	}
	press, body := time.Duration(0), make([]byte, 0, 2*cut.GridDefault)
	before := cpu()
	for _, c := range chunks {
		t.press.Compress(body, c)
	}
	press = cpu() - before
	var memory, buf []byte
	out, n := 0, 0
	b.SetBytes(vault.PackBytes)
	before = cpu()
	for b.Loop() {
		n++
		p, err := vault.NewBuilder(deps.Ring, vault.BuilderOptions{Buf: memory})
		if err != nil {
			b.Fatal(err)
		}
		for _, g := range gather(refs) {
			if n := int(g.to - g.from); cap(buf) < n {
				buf = make([]byte, n)
			}
			buf = buf[:g.to-g.from]
			if _, err := e.fetch(g, buf); err != nil {
				b.Fatal(err)
			}
			for _, c := range e.prepare(t, g, buf) {
				if !p.Fits(len(c.body)) {
					continue // raw: the last chunk
				}
				if _, err := p.Append(c.id(), c.body, c.codec, int(c.length())); err != nil {
					b.Fatal(err)
				}
			}
		}
		memory = ship(b, w, p)
		out += len(memory)
	}
	gib := float64(n) * vault.PackBytes / (1 << 30)
	b.ReportMetric((cpu()-before).Seconds()/gib, "cpu-s/GiB")
	b.ReportMetric(press.Seconds()/(vault.PackBytes/float64(1<<30)), "press-s/GiB")
	b.ReportMetric(gib*(1<<30)/float64(out), "ratio")
}

// ship is what engine.write does, and the uploader's removal.
func ship(b *testing.B, w *world, p *vault.Builder) []byte {
	id, data, entries, err := p.Close(1)
	if err != nil {
		b.Fatal(err)
	}
	ref, err := w.sealed.Put(context.Background(), id.String(), data)
	if err != nil {
		b.Fatal(err)
	}
	told := &schemas.PackSealed{Pack: id.Proto(), Blob: ref, Blake3: shard.Sums(shards, data)}
	if len(entries) == 0 {
		b.Fatal(fmt.Errorf("nothing in %v", told))
	}
	if err := w.sealed.Remove(ref); err != nil {
		b.Fatal(err)
	}
	return data
}
