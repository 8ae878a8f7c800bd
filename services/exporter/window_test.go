package exporter

import (
	"fmt"
	"testing"

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
