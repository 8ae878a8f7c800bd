package staging

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func openSealed(t *testing.T, dir string, reserve int64) *Sealed {
	t.Helper()
	s, err := OpenSealed(dir, reserve)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A sealer waits when its own reserve is full, and nobody else does. It is woken
// by a removal here at once, by one in another process when it looks.
func TestSealerWaitsForItsOwn(t *testing.T) {
	for _, other := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s, neighbour := openSealed(t, dir, 1000), openSealed(t, dir, 1000)
			ref, err := s.Put(t.Context(), "a", make([]byte, 600))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := neighbour.Put(t.Context(), "a", make([]byte, 600)); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			time.AfterFunc(10500*time.Millisecond, func() {
				remover := s
				if other {
					remover = neighbour
				}
				if err := remover.Remove(ref); err != nil {
					t.Error(err)
				}
			})
			if _, err := s.Put(t.Context(), "b", make([]byte, 600)); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			if want := 10500 * time.Millisecond; took < want || took > want+lookEvery || !other && took != want {
				t.Errorf("another's removal %v: put took %v", other, took)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			if _, err := s.Put(ctx, "c", make([]byte, 600)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a full reserve: %v", err)
			}
			if s.Bytes() != 600 {
				t.Errorf("%d bytes are counted, want 600", s.Bytes())
			}
		})
	}
}

func TestSealedReadsAndRemoves(t *testing.T) {
	dir := t.TempDir()
	s, other := openSealed(t, dir, 0), openSealed(t, dir, 0)
	for _, body := range []string{"a long one to begin with", "short"} {
		ref, err := s.Put(t.Context(), "n"+body[:1], []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := other.Read(ref, nil); err != nil || string(b) != body {
			t.Errorf("read %q, %v", b, err)
		}
		for range 2 {
			if err := s.Remove(ref); err != nil {
				t.Error(err)
			}
		}
		if _, err := other.Read(ref, nil); !errors.Is(err, ErrMissing) {
			t.Errorf("read of a pack that is removed: %v", err)
		}
	}
	if s.Bytes() != 0 {
		t.Errorf("%d bytes are left", s.Bytes())
	}
	if _, err := openSealed(t, dir, 10).Put(t.Context(), "x", make([]byte, 11)); err == nil {
		t.Error("a pack over the reserve is waited for")
	}
	for _, ref := range []string{"../x", "x/../y", "x", "x/.y"} {
		if _, err := s.Read(ref, nil); !errors.Is(err, ErrMissing) {
			t.Errorf("read %q: %v", ref, err)
		}
	}
}

// Folders of the dead go, those of the living and of the just dead stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s, dead, young := openSealed(t, dir, 0), openSealed(t, dir, 0), openSealed(t, dir, 0)
	for _, x := range []*Sealed{s, dead, young} {
		if _, err := x.Put(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	age := func(x *Sealed, d time.Duration) {
		at := time.Now().Add(-d)
		if err := os.Chtimes(filepath.Join(dir, x.own), at, at); err != nil {
			t.Fatal(err)
		}
	}
	age(s, 2*time.Hour)
	age(dead, 61*time.Minute)
	age(young, 59*time.Minute)
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		x    *Sealed
		left bool
	}{{s, true}, {dead, false}, {young, true}} {
		if _, err := s.Read(c.x.own+"/a", nil); (err == nil) != c.left {
			t.Errorf("folder %s: %v, want left %v", c.x.own, err, c.left)
		}
	}
}

// A pack that an uploader committed and did not live to remove goes, while its sealer
// lives on, and its space is free again; those that may be waited for stay.
func TestStalePacksGo(t *testing.T) {
	dir := t.TempDir()
	s := openSealed(t, dir, 0)
	for name, age := range map[string]time.Duration{"stale": 25 * time.Hour, "waited-for": 23 * time.Hour} {
		if _, err := s.Put(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, s.own, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(s.own+"/stale", nil); !errors.Is(err, ErrMissing) || s.Bytes() != 1 {
		t.Errorf("a stale pack is left: %v, %d bytes", err, s.Bytes())
	}
	if _, err := s.Read(s.own+"/waited-for", nil); err != nil {
		t.Error(err)
	}
}

// Goal: a process that dies again and again leaves no more space behind than one.
// Method: three lives that free a pack each and never close; and a neighbour that
// lives on, whose freed file goes too, seals and frees as before.
func TestFreedPacksOfTheDeadGo(t *testing.T) {
	dir := t.TempDir()
	freed := func() (n int) {
		files, err := filepath.Glob(filepath.Join(dir, "*", freedDir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	free := func(s *Sealed, name string) {
		t.Helper()
		ref, err := s.Put(t.Context(), name, []byte("0123456789"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.Read(ref, nil); err != nil || string(b) != "0123456789" {
			t.Errorf("read %q, %v", b, err)
		}
		if err := s.Remove(ref); err != nil {
			t.Fatal(err)
		}
		if left := s.Bytes(); left != 0 {
			t.Errorf("%d bytes are counted, and all is removed", left)
		}
	}
	neighbour := openSealed(t, dir, 0)
	free(neighbour, "a")
	for range 3 {
		free(openSealed(t, dir, 0), "x")
		if n := freed(); n != 1 {
			t.Errorf("%d freed files lie there, want the last life's", n)
		}
	}
	free(neighbour, "b")
	free(neighbour, "c")
}
