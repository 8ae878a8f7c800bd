package staging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func openShare(t testing.TB, o Options) *Share {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "share"), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(t testing.TB, s *Share, lease, name, body string) string {
	t.Helper()
	ref, err := s.Put(lease, name, []byte(body[:len(body)/2]), []byte(body[len(body)/2:]))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// Blocks are reused, names and contents are not: a freed file comes back under
// another name, shorter or longer, with nothing of its old bytes.
func TestFreedFilesAreOverwritten(t *testing.T) {
	s := openShare(t, Options{})
	first := mustPut(t, s, "l1", "a", "the first and longest of all bodies")
	file, _, _ := s.path(first)
	ino := inode(t, file)
	for i, body := range []string{"short", "", "one that is much longer than the one before it"} {
		if err := s.Free(first); err != nil {
			t.Fatal(err)
		}
		ref := mustPut(t, s, "l2", fmt.Sprint("b", i), body)
		path, _, _ := s.path(ref)
		if got := inode(t, path); got != ino {
			t.Errorf("%s lies in another file than the one that was freed", ref)
		}
		if got, _ := os.ReadFile(path); string(got) != body {
			t.Errorf("%s holds %q, want %q", ref, got, body)
		}
		if old, _, _ := s.path(first); first != ref {
			if _, err := os.Stat(old); err == nil {
				t.Errorf("%s is there, and was freed", first)
			}
		}
		first = ref
	}
}

func TestPoolIsBounded(t *testing.T) {
	s := openShare(t, Options{PoolBytes: 100})
	var refs []string
	for i := range 5 {
		refs = append(refs, mustPut(t, s, "l", fmt.Sprint(i), string(make([]byte, 40))))
	}
	for range 2 { // the same twice
		for _, r := range refs {
			if err := s.Free(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept, _ := os.ReadDir(s.pool.dir)
	if len(kept) != 2 || s.pool.bytes != 80 {
		t.Errorf("the pool has %d files, %d bytes; want 2 of 40", len(kept), s.pool.bytes)
	}
	again, err := Open(s.dir, Options{PoolBytes: 100})
	if err != nil || len(again.pool.files) != 2 {
		t.Errorf("the next process takes over %d files, %v", len(again.pool.files), err)
	}
	// Both think they have them; who is late makes a new file.
	for i := range 2 {
		mustPut(t, s, "l", fmt.Sprint("x", i), "x")
		mustPut(t, again, "l", fmt.Sprint("y", i), "y")
	}
	if blobs, _ := s.Blobs("l"); len(blobs) != 4 {
		t.Errorf("blobs: %v", blobs)
	}
}

// A reader on another host waits for what its share shows late, but not for a
// lease that is gone, and not for ever.
func TestReadLooksThrice(t *testing.T) {
	for name, c := range map[string]struct {
		lease   bool
		there   time.Duration
		missing bool
		took    time.Duration
	}{
		"at once":    {true, 0, false, 0},
		"late":       {true, 3 * time.Second, false, 5 * time.Second},
		"never":      {true, time.Hour, true, 5 * time.Second},
		"lease gone": {false, time.Hour, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openShare(t, Options{})
				if c.lease {
					mustPut(t, s, "l", "other", "x")
				}
				put := func() { mustPut(t, s, "l", "b", "body") }
				if c.there == 0 {
					put()
				} else if !c.missing {
					time.AfterFunc(c.there, put)
				}
				start := time.Now()
				p := make([]byte, 3)
				err := s.Read(t.Context(), "l/b", p, 1)
				if errors.Is(err, ErrMissing) != c.missing || !c.missing && (err != nil || string(p) != "ody") {
					t.Errorf("read %q, %v", p, err)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := openShare(t, Options{})
		mustPut(t, s, "l", "b", "body")
		if err := s.Read(t.Context(), "l/b", make([]byte, 5), 0); !errors.Is(err, ErrMissing) {
			t.Errorf("a torn blob is read: %v", err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := s.Read(ctx, "l/none", make([]byte, 1), 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read goes on past its context: %v", err)
		}
	})
}

func TestLeases(t *testing.T) {
	s := openShare(t, Options{})
	mustPut(t, s, "l1", "b", "1")
	mustPut(t, s, "l1", "a", "22")
	mustPut(t, s, "l2", "a", "3")
	os.WriteFile(filepath.Join(s.leases(), "l1", ".torn"), []byte("x"), 0o600)
	blobs, err := s.Blobs("l1")
	if err != nil || len(blobs) != 2 || blobs[0] != (Blob{"l1/a", "a", 2}) {
		t.Errorf("blobs %v, %v", blobs, err)
	}
	for range 2 {
		if err := s.RemoveLease("l1"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Leases(); err != nil || len(got) != 1 || got[0] != "l2" {
		t.Errorf("leases %v, %v", got, err)
	}
	if blobs, err := s.Blobs("l1"); err != nil || len(blobs) != 0 {
		t.Errorf("blobs of a lease that is gone: %v, %v", blobs, err)
	}
}

// Refs come over the wire.
func TestRefsDoNotLeadOut(t *testing.T) {
	s := openShare(t, Options{})
	secret := filepath.Join(filepath.Dir(s.dir), "secret")
	os.WriteFile(secret, []byte("x"), 0o600)
	for _, ref := range []string{"", "/", "x", "../secret", "../../secret", "l/../../../secret", "l/..", "l/", "/l", "l/.hidden", "l/a/b", "l/a\x00", secret} {
		if err := s.Read(t.Context(), ref, make([]byte, 1), 0); !errors.Is(err, ErrMissing) { // else its reader waits for ever
			t.Errorf("read %q: %v", ref, err)
		}
		if err := s.Free(ref); err == nil {
			t.Errorf("free %q", ref)
		}
	}
	for _, lease := range []string{"", ".", "..", "a/b", "../.."} {
		if _, err := s.Put(lease, "n", nil); err == nil {
			t.Errorf("put into %q", lease)
		}
		if _, err := s.Put("n", lease, nil); err == nil {
			t.Errorf("put as %q", lease)
		}
		if err := s.RemoveLease(lease); err == nil {
			t.Errorf("remove %q", lease)
		}
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
}

// A full disk is said as such, leaves nothing half-written, and takes the pool
// first. Method: a file system of 1 MiB, where we may mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no right to mount: ", err)
	}
	defer syscall.Unmount(dir, 0)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 600<<10)
	ref, err := s.Put("l", "a", half)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put("l", "b", half); !errors.Is(err, ErrFull) {
		t.Errorf("put on a full disk: %v", err)
	}
	if all, _ := os.ReadDir(filepath.Join(dir, "leases", "l")); len(all) != 1 {
		t.Errorf("a failed put leaves %v", all)
	}
	s.Free(ref)
	if _, err := s.Put("l", "c", []byte("x")); err != nil { // takes the freed file and cuts it
		t.Error(err)
	}
	mustPut(t, s, "l", "d", string(half))
	s.Free("l/d")
	s.pool.files = append([]freed{}, s.pool.files...)
	os.WriteFile(filepath.Join(dir, "pool", "z"), bytes.Repeat([]byte("z"), 100<<10), 0o600)
	s.pool.add(filepath.Join(dir, "pool", "z"), 100<<10)
	if _, err := s.Put("l", "e", make([]byte, 900<<10)); err != nil {
		t.Errorf("the pool is not given up for a blob: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := openShare(t, Options{PoolBytes: 300})
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 50 {
				body := fmt.Sprintf("%d-%d-%0*d", w, i, 20+i, 0)
				ref, err := s.Put(fmt.Sprint("l", w%3), fmt.Sprintf("%d-%d", w, i), []byte(body))
				if err != nil {
					t.Error(err)
					return
				}
				p := make([]byte, len(body))
				if err := s.Read(t.Context(), ref, p, 0); err != nil || string(p) != body {
					t.Errorf("%s holds %q, %v", ref, p, err)
				}
				if err := s.Free(ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
