package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, filepath.Join(t.TempDir(), "new", "folder")) })
}

// A writer dies between each two steps of a put. Its leftover is no object, and
// is removed once it is old; the same put by another writer is done.
func TestCrashLeavesNoTornObject(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.own(); err != nil {
		t.Fatal(err)
	}
	f, err := s.temp([][]byte{[]byte("half an obj")})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for i, err := range s.List(t.Context(), "") {
		t.Errorf("a leftover is listed as %v, %v", i, err)
	}
	if open(t, dir); !exists(f.Name()) {
		t.Fatal("a writer that may live lost its bytes")
	}
	old := time.Now().Add(-2 * leftover)
	if err := os.Chtimes(f.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	if open(t, dir); exists(f.Name()) {
		t.Error("an old leftover stays")
	}
	// Dead after its link and before its flush: the next writer is told that it
	// exists, and flushes for it.
	if err := os.MkdirAll(filepath.Join(dir, "p/q"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "p/q/k"), []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	next := open(t, dir)
	p := &pending{key: "p/q/k", done: make(chan struct{})}
	if p.file, err = next.temp([][]byte{[]byte("whole")}); err != nil {
		t.Fatal(err)
	}
	next.enqueue(p)
	if <-p.done; !errors.Is(p.err, blob.ErrExist) {
		t.Errorf("put of an object that is there: %v", p.err)
	}
	for _, d := range []string{"", "p", "p/q"} {
		if !p.dirs[d] {
			t.Errorf("folder %q was not flushed: the name may go with the power", d)
		}
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// A share that is not mounted is an empty folder. It must not be sure of
// anything, and must take nothing.
func TestFolderThatIsNotMounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "share")
	s := open(t, dir)
	if err := s.Put(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	for _, state := range []string{"gone", "empty", "another"} {
		if state == "gone" {
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if state == "another" {
			if err := open(t, dir).Put(t.Context(), "c", []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		_, get := s.Get(t.Context(), "a/b", 0, -1)
		_, stat := s.Stat(t.Context(), "a/b")
		for op, err := range map[string]error{"get": get, "stat": stat, "delete": s.Delete(t.Context(), "a/b"),
			"put": s.Put(t.Context(), "n", []byte("x"))} {
			if err == nil || blob.Permanent(err) {
				t.Errorf("%s while the folder is %s: %v", op, state, err)
			}
		}
		n := 0
		for _, err := range s.List(t.Context(), "") {
			if n++; err == nil {
				t.Errorf("listed while the folder is %s", state)
			}
		}
		if n != 1 {
			t.Errorf("%d answers of a list while the folder is %s", n, state)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Get(t.Context(), "a/b", 0, -1); err != nil || string(b) != "x" {
		t.Errorf("the folder is back: %q, %v", b, err)
	}
}

func TestOpenOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("opened a file: %v", err)
	}
}

// Strangers' files are not objects, and empty folders go with their last object.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, d := range []string{"lost+found", ".snapshot"} {
		if err := os.MkdirAll(filepath.Join(dir, d, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), "a/b/c", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i.Key)
	}
	if !slices.Equal(got, []string{"a/b/c"}) {
		t.Errorf("listed %q", got)
	}
	if err := s.Delete(t.Context(), "a/b/c"); err != nil || exists(filepath.Join(dir, "a")) {
		t.Errorf("deleted: %v; the empty folder stays: %v", err, exists(filepath.Join(dir, "a")))
	}
}

// One full disk: the store says so, and what is there stays whole.
func TestFull(t *testing.T) {
	for _, err := range []error{os.NewSyscallError("write", syscall.ENOSPC), &os.PathError{Op: "write", Err: syscall.EDQUOT}} {
		if err := full(err); !errors.Is(err, blob.ErrFull) {
			t.Errorf("not said to be full: %v", err)
		}
	}
}

// Durable puts of 6 shards of 4 MiB, each to its own folder, with 8 packs in
// flight, as an uploader does. All folders are on one device here.
func BenchmarkDurablePack(b *testing.B) {
	const shards, inFlight = 6, 8
	var stores [shards]*Store
	for i := range stores {
		stores[i] = open(b, filepath.Join(b.TempDir(), fmt.Sprint("t", i)))
	}
	header, body := make([]byte, 96), bytes.Repeat([]byte("holdfast"), 4<<20/8)
	b.SetBytes(4 * 4 << 20) // of a pack, before parity
	slots := make(chan struct{}, inFlight)
	var packs sync.WaitGroup
	for n := range b.N {
		slots <- struct{}{}
		packs.Go(func() {
			var wg sync.WaitGroup
			for i, s := range stores {
				wg.Go(func() {
					if err := s.Put(b.Context(), fmt.Sprintf("packs/1/%032x/%d.g0", n, i), header, body); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			<-slots
		})
	}
	packs.Wait()
}
