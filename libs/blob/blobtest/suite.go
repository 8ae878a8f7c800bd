// Package blobtest is what every object store must pass, and a store that fails
// on demand.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// Run tests the contract of blob.Store. open gives an empty store.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"CameBack": cameBack, "Ranges": ranges, "OneWinner": oneWinner, "Repeated": repeated, "Absent": absent,
		"Listed": listed, "ListedAtOnce": listedAtOnce, "StoppedList": stoppedList, "Deleted": deleted, "DeletedAndPut": deletedAndPut,
		"BadKeys": badKeys, "EndedContext": endedContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key string, body ...string) {
	t.Helper()
	parts := make([][]byte, len(body))
	for i, b := range body {
		parts[i] = []byte(b)
	}
	if err := s.Put(t.Context(), key, parts...); err != nil {
		t.Fatal(err)
	}
}

func cameBack(t *testing.T, s blob.Store) {
	long := strings.Repeat("holdfast", 1<<17) // 1 MiB
	for key, parts := range map[string][]string{
		"a": {"x"}, "b/c/d": {"x", "", "yz"}, "empty": {}, "long": {"head", long}, "b/e.g0": {"é"},
	} {
		put(t, s, key, parts...)
		want := strings.Join(parts, "")
		got, err := s.Get(t.Context(), key, 0, -1)
		if err != nil || string(got) != want {
			t.Errorf("%s came back as %d bytes, %v; %d were put", key, len(got), err, len(want))
		}
		i, err := s.Stat(t.Context(), key)
		if err != nil || i != (blob.Info{Key: key, Size: int64(len(want))}) {
			t.Errorf("%s: Stat says %+v, %v", key, i, err)
		}
	}
}

func ranges(t *testing.T, s blob.Store) {
	put(t, s, "k", "0123456789")
	for _, c := range []struct {
		off, n int64
		want   string
		err    error
	}{
		{0, 10, "0123456789", nil}, {3, 4, "3456", nil}, {7, -1, "789", nil}, {10, -1, "", nil}, {10, 0, "", nil}, {4, 0, "", nil},
		{0, 11, "", io.ErrUnexpectedEOF}, {10, 1, "", io.ErrUnexpectedEOF}, {11, -1, "", io.ErrUnexpectedEOF}, {8, 1 << 62, "", io.ErrUnexpectedEOF},
	} {
		got, err := s.Get(t.Context(), "k", c.off, c.n)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("Get(%d, %d) = %q, %v; want %q, %v", c.off, c.n, got, err, c.want, c.err)
		}
	}
	if _, err := s.Get(t.Context(), "k", -1, 1); err == nil {
		t.Error("a negative offset was read")
	}
}

func oneWinner(t *testing.T, s blob.Store) {
	for round := range 10 {
		key, won := fmt.Sprint("race/", round), make([]bool, 8)
		var wg sync.WaitGroup
		for i := range won {
			wg.Go(func() {
				err := s.Put(t.Context(), key, bytes.Repeat([]byte{byte(i)}, 5000))
				if won[i] = err == nil; !won[i] && !errors.Is(err, blob.ErrExist) {
					t.Errorf("a rival's put: %v", err)
				}
			})
		}
		wg.Wait()
		i := slices.Index(won, true)
		if i < 0 || slices.Contains(won[i+1:], true) {
			t.Fatalf("puts that won: %v", won)
		}
		if got, err := s.Get(t.Context(), key, 0, -1); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 5000)) {
			t.Fatalf("the object is not its winner's: %v", err)
		}
	}
}

func repeated(t *testing.T, s blob.Store) {
	put(t, s, "k", "first")
	for _, body := range []string{"first", "second"} {
		if err := s.Put(t.Context(), "k", []byte(body)); !errors.Is(err, blob.ErrExist) || !blob.Permanent(err) {
			t.Errorf("put of an object that is there: %v", err)
		} else if errors.Is(err, blob.ErrDiffers) && body == "first" {
			t.Errorf("the same bytes: %v", err)
		}
	}
	if got, _ := s.Get(t.Context(), "k", 0, -1); string(got) != "first" {
		t.Errorf("the object was overwritten: %q", got)
	}
}

func absent(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "x")
	for _, key := range []string{"b", "a/c", "a", "c/d/e"} {
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Get(%s): %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Stat(%s): %v", key, err)
		}
	}
}

func list(t *testing.T, s blob.Store, prefix string) (keys []string) {
	t.Helper()
	for i, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if i.Size != int64(len(i.Key)) {
			t.Errorf("%s is listed with %d bytes", i.Key, i.Size)
		}
		keys = append(keys, i.Key)
	}
	return keys
}

func listed(t *testing.T, s blob.Store) {
	if got := list(t, s, ""); len(got) != 0 {
		t.Fatalf("an empty store lists %q", got)
	}
	all := []string{"a", "b-c/d", "b.c", "b/10/x", "b/9/x", "b/9/y", "b0", "c/d/e/f", "d/1", "d/1.closing", "d/10"}
	for _, i := range []int{7, 2, 9, 0, 4, 1, 10, 8, 3, 6, 5} {
		put(t, s, all[i], all[i])
	}
	for _, prefix := range []string{"", "b", "b/", "b/9/", "b/9", "b/9/x", "c/d", "c/d/e/f", "d/1", "nothing", "a/b", "b/9/x/z"} {
		var want []string
		for _, k := range all {
			if strings.HasPrefix(k, prefix) {
				want = append(want, k)
			}
		}
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%q) = %q, want %q", prefix, got, want)
		}
	}
}

// What Put has said must be in the next listing: the order of epochs rests on it.
func listedAtOnce(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				key := fmt.Sprintf("p/%d/%d", i, j)
				if err := s.Put(t.Context(), key, []byte(key)); err != nil {
					t.Error(err)
					return
				}
				if got := list(t, s, key); !slices.Contains(got, key) {
					t.Errorf("%s is not listed after its put", key)
				}
			}
		})
	}
	wg.Wait()
	if n := len(list(t, s, "p/")); n != 80 {
		t.Errorf("80 objects put, %d listed", n)
	}
}

func stoppedList(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprint("k/", i), "x")
	}
	n := 0
	for range s.List(t.Context(), "k/") {
		if n++; n == 2 {
			break
		}
	}
}

func deleted(t *testing.T, s blob.Store) {
	put(t, s, "a/b/c", "x")
	put(t, s, "a/d", "a/d"[:3])
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "a/b/c", 0, -1); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("a deleted object: %v", err)
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"a/d"}) {
		t.Errorf("after a delete %q are listed", got)
	}
	put(t, s, "a/b/c", "y")
	if got, _ := s.Get(t.Context(), "a/b/c", 0, -1); string(got) != "y" {
		t.Errorf("put after a delete: %q", got)
	}
}

// A store that tidies up behind a delete must not take what a put just made.
func deletedAndPut(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := fmt.Sprint("x/y/", i)
			for range 25 {
				if err := s.Put(t.Context(), key, []byte("x")); err != nil {
					t.Errorf("put beside deletes: %v", err)
				}
				if _, err := s.Stat(t.Context(), key); err != nil {
					t.Errorf("after a put: %v", err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func badKeys(t *testing.T, s blob.Store) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/.b", "a b", "a\x00", "ä", "a\\b", strings.Repeat("x", 256), strings.Repeat("x/", 300) + "x"} {
		if err := s.Put(t.Context(), key, []byte("x")); !errors.Is(err, blob.ErrKey) || !blob.Permanent(err) {
			t.Errorf("Put(%.20q): %v", key, err)
		}
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, blob.ErrKey) {
			t.Errorf("Get(%.20q): %v", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrKey) {
			t.Errorf("Delete(%.20q): %v", key, err)
		}
	}
	for _, err := range s.List(t.Context(), "../") {
		if !errors.Is(err, blob.ErrKey) {
			t.Errorf("List(../): %v", err)
		}
	}
}

func endedContext(t *testing.T, s blob.Store) {
	put(t, s, "k", "x")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := s.Put(ctx, "l", []byte("x")); !errors.Is(err, why) || blob.Permanent(err) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Get(ctx, "k", 0, -1); !errors.Is(err, why) {
		t.Errorf("Get: %v", err)
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, why) {
			t.Errorf("List: %v", err)
		}
	}
}
