package pagelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

var (
	leaseA = schemas.UUID{1}
	leaseB = schemas.UUID{2}
)

func digests(n byte) *Digests {
	var d Digests
	for i := range d {
		d[i] = Digest{n, byte(i)}
	}
	return &d
}

// write logs two files: pages 1, 3 and 7 of a, page 0 of b.
func write(t testing.TB, l Logs, lease schemas.UUID) *Writer {
	t.Helper()
	w, err := l.Create(lease)
	if err != nil {
		t.Fatal(err)
	}
	w.File("a", 100, 10)
	for _, no := range []uint32{1, 3, 7} {
		w.Page(Page{No: no, What: schemas.PageRun_WHAT_EXPORTED, Digests: digests(byte(no))})
	}
	w.File("b\n", 200, 20)
	if err := w.Page(Page{No: 0, What: schemas.PageRun_WHAT_INHERITED, Digests: digests(100)}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestComesBack(t *testing.T) {
	l := Of(t.TempDir(), "s", "m")
	if err := write(t, l, leaseA).Seal(); err != nil {
		t.Fatal(err)
	}
	log, err := l.Open(leaseA)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b, ok := log.File("b\n")
	a, ok2 := log.File("a")
	if !ok || !ok2 || a.Size != 100 || a.Grid != 10 || b.Size != 200 {
		t.Fatal(a, b)
	}
	for no := range uint32(9) {
		d := a.Page(no)
		if want := no == 1 || no == 3 || no == 7; (d != nil) != want || want && *d != *digests(byte(no)) {
			t.Errorf("page %d of a: %v", no, d)
		}
	}
	if d := b.Page(0); d == nil || *d != *digests(100) || b.Page(1) != nil {
		t.Error("pages of b are not what they were")
	}
	if _, ok := log.File("c"); ok {
		t.Error("a file that was not logged is there")
	}
}

func TestOnlyTheLeaseAndTheMachine(t *testing.T) {
	dir := t.TempDir()
	l := Of(dir, "s", "m")
	w := write(t, l, leaseA)
	if _, err := l.Open(leaseA); !errors.Is(err, ErrNone) {
		t.Errorf("an open log is a base: %v", err)
	}
	w.Seal()
	for _, x := range []Logs{Of(dir, "s", "m2"), Of(dir, "s2", "m")} {
		if _, err := x.Open(leaseA); !errors.Is(err, ErrNone) {
			t.Errorf("another machine's log: %v", err)
		}
	}
	os.Link(l.sealed(leaseA), l.sealed(leaseB))
	if _, err := l.Open(leaseB); !errors.Is(err, ErrNone) {
		t.Errorf("a log under another lease's name: %v", err)
	}
}

func TestKeepAndDrop(t *testing.T) {
	l := Of(t.TempDir(), "s", "m")
	names := func() (all []string) {
		files, _ := os.ReadDir(l.dir)
		for _, f := range files {
			all = append(all, f.Name())
		}
		return all
	}
	write(t, l, leaseA).Seal()
	write(t, l, leaseB).Seal()
	write(t, l, leaseB).Close()
	if err := l.Drop(leaseB); err != nil || len(names()) != 1 {
		t.Errorf("after drop: %v, %v", names(), err)
	}
	write(t, l, leaseB).Seal()
	if err := l.Keep(leaseB); err != nil || fmt.Sprint(names()) != fmt.Sprint([]string{leaseB.String()}) {
		t.Errorf("after keep: %v, %v", names(), err)
	}
	if err := Of(t.TempDir(), "s", "m").Drop(leaseA); err != nil {
		t.Error(err)
	}
}

// What a frozen process writes into the log that we took up is not in ours, and
// our log cannot be sealed by it.
func TestResumeLeavesTheFrozenBehind(t *testing.T) {
	l := Of(t.TempDir(), "s", "m")
	frozen := write(t, l, leaseA)
	n, _ := frozen.Flush()
	w, err := l.Resume(leaseA, frozen.Name(), n)
	if err != nil {
		t.Fatal(err)
	}
	frozen.Page(Page{No: 5, Digests: digests(5)})
	frozen.Flush()
	if err := frozen.Seal(); err == nil {
		t.Error("the frozen process seals its log over ours")
	}
	if !w.Began("b\n") {
		t.Error("the file that was begun is forgotten")
	}
	w.Page(Page{No: 9, What: schemas.PageRun_WHAT_EXPORTED, Digests: digests(9)})
	var got []uint32
	for p, err := range w.Pages() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.No)
	}
	if fmt.Sprint(got) != "[0 9]" {
		t.Errorf("pages %v, want those of the file begun last", got)
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	log, err := l.Open(leaseA)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c, _ := log.File("b\n")
	if c.Page(5) != nil || c.Page(9) == nil {
		t.Error("the log holds what the frozen process wrote, or not what we did")
	}
}

func TestResumeOfATornLog(t *testing.T) {
	for name, tear := range map[string]func(path string, n int64){
		"short":   func(p string, n int64) { os.Truncate(p, n-1) },
		"zeros":   func(p string, n int64) { os.Truncate(p, n-100); os.Truncate(p, n) },
		"removed": func(p string, _ int64) { os.Remove(p) },
		"empty":   func(p string, _ int64) { os.Truncate(p, 0) },
	} {
		l := Of(t.TempDir(), "s", "m")
		w := write(t, l, leaseA)
		n, _ := w.Flush()
		w.Close()
		tear(filepath.Join(l.dir, w.Name()), n)
		if _, err := l.Resume(leaseA, w.Name(), n); !errors.Is(err, ErrNone) {
			t.Errorf("%s: resume says %v, want ErrNone", name, err)
		}
	}
	l := Of(t.TempDir(), "s", "m")
	for _, name := range []string{"", "../x", "none"} {
		if _, err := l.Resume(leaseA, name, 10); !errors.Is(err, ErrNone) {
			t.Errorf("resume of %q: %v", name, err)
		}
	}
}

// FuzzOpen: whatever became of the bytes of a log, what it proves is what was
// written, and nothing else; and it comes to an end.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	l := Of(dir, "s", "m")
	write(f, l, leaseA).Seal()
	whole, err := os.ReadFile(l.sealed(leaseA))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{}, len(whole))
	f.Add(len(whole)-9, []byte{0}, len(whole))
	f.Add(30, []byte("dddd"), len(whole))
	f.Add(len(whole)-60, []byte{0xff, 0xff}, len(whole)-3)
	f.Fuzz(func(t *testing.T, at int, with []byte, size int) {
		b := append([]byte{}, whole...)
		if at >= 0 && at < len(b) {
			copy(b[at:], with)
		}
		if size >= 0 && size < len(b) {
			b = b[:size]
		}
		l := Of(t.TempDir(), "s", "m")
		os.MkdirAll(l.dir, 0o700)
		os.WriteFile(l.sealed(leaseA), b, 0o600)
		log, err := l.Open(leaseA)
		if err != nil {
			if !errors.Is(err, ErrNone) {
				t.Error(err)
			}
			return
		}
		defer log.Close()
		for _, key := range []string{"a", "b\n"} {
			c, ok := log.File(key)
			if !ok {
				continue
			}
			for no := range uint32(10) {
				if d := c.Page(no); d != nil {
					want := digests(byte(no))
					if key != "a" {
						want = digests(100)
					}
					if *d != *want {
						t.Errorf("page %d of %q proves what was never written", no, key)
					}
				}
			}
		}
	})
}
