package exporter

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-backup/holdfast/libs/staging"
)

func TestWindow(t *testing.T) {
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, _ := newWindow(share, "l", 3*block)
	for n := range uint64(3) {
		if err := w.wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ref, _ := share.Put("l", fmt.Sprintf("0-%d-x", n), []byte("x"))
		w.add(number{0, n}, staging.Blob{Ref: ref, Bytes: 1})
	}
	again, err := newWindow(share, "l", 3*block)
	if err != nil || again.used != 3*block || len(again.blobs) != 3 {
		t.Errorf("found again: %d bytes, %v, %v", again.used, again.blobs, err)
	}
	for range 2 {
		if err := w.free(0, 1); err != nil || w.used != 2*block {
			t.Errorf("after free: %d bytes, %v", w.used, err)
		}
	}
	if err := w.free(9, 9); err != nil {
		t.Error(err)
	}
	if left, _ := share.Blobs("l"); len(left) != 2 {
		t.Errorf("blobs after one was freed: %v", left)
	}
}

// An exporter that was thought dead, and its successor, leave a blob each of one
// extent. Closing it frees both: it comes once, and who waits for room gets it.
func TestTwoBlobsOfOneExtentGoTogether(t *testing.T) {
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"0-1-zombie", "0-1-successor", "0-2-x"} {
		if _, err := share.Put("l", of, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	w, err := newWindow(share, "l", 3*block)
	if err != nil || w.used != 3*block {
		t.Fatalf("found %d bytes, %v", w.used, err)
	}
	for range 2 {
		if err := w.free(0, 1); err != nil || w.used != block {
			t.Errorf("after free: %d bytes, %v", w.used, err)
		}
	}
	if left, _ := share.Blobs("l"); len(left) != 1 || left[0].Name != "0-2-x" {
		t.Errorf("blobs after one extent was freed: %v", left)
	}
}

// Goal: an export that is taken up after a crash waits for no space that nobody will
// give. Method: a window that is full of blobs of which nothing was told, but for the
// first, which is taken over; then what lies before them, and was closed, is staged
// anew. The last of them goes, and only when nothing was freed for a while.
func TestBlobsThatWereFoundGiveWay(t *testing.T) {
	const max = 10 * block
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1-0-aa", "1-1-bb", "1-2-cc"} {
		if _, err := share.Put("lease", name, make([]byte, 3*block)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWindow(share, "lease", max)
		if err != nil {
			t.Fatal(err)
		}
		w.take(number{1, 0})
		has := func(want ...number) {
			t.Helper()
			if len(w.blobs) != len(want) {
				t.Errorf("%d blobs are there, want %d", len(w.blobs), len(want))
			}
			for _, n := range want {
				if len(w.at(n)) == 0 {
					t.Errorf("blob %v is gone", n)
				}
			}
		}
		begun := time.Now()
		time.AfterFunc(foundFor/2, func() { // what was told of is closed, and shows that others may be
			if err := w.free(1, 1); err != nil {
				t.Error(err)
			}
		})
		if err := w.wait(t.Context(), 6*block); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != foundFor/2+foundFor {
			t.Errorf("it waited %s", took)
		}
		has(number{1, 0})
		if all, err := share.Blobs("lease"); err != nil || len(all) != 1 || w.used != 3*block {
			t.Errorf("%d blobs lie there, %d bytes are counted; %v", len(all), w.used, err)
		}
		time.AfterFunc(10*foundFor, func() {
			if err := w.free(1, 0); err != nil {
				t.Error(err)
			}
		})
		if err := w.wait(t.Context(), 8*block); err != nil { // ours is waited for
			t.Fatal(err)
		}
		has()
	})
}
