package chunker

import (
	"errors"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/staging"
)

// Bytes that are gone, torn or another blob's by now are a fault that names
// them; a blob that may still show up is neither.
func TestLostBytesAreAFault(t *testing.T) {
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := <-newWorkers(key)
	e := streamed(t, share, 256<<10)
	if code, err := w.read(t.Context(), share, e); code != "" || err != nil {
		t.Fatalf("good bytes: %s %v", code, err)
	}
	e.Digests[0] ^= 1
	if code, err := w.read(t.Context(), share, e); code != "staging.hash" || err == nil {
		t.Errorf("a flipped bit: %q %v", code, err)
	}
	if err := share.Free(e.Blob); err != nil {
		t.Fatal(err)
	}
	if code, err := w.read(once, share, e); code != "" || !errors.Is(err, errNotYet) {
		t.Errorf("a freed blob at first look: %q %v", code, err)
	}
	if err := share.RemoveLease("lease"); err != nil {
		t.Fatal(err)
	}
	if code, err := w.read(once, share, e); code != "staging.missing" || err == nil {
		t.Errorf("a lease that is gone: %q %v", code, err)
	}
}

// A record's share of the extent's time is by its chunks; the shares add up.
func TestTimesAddUp(t *testing.T) {
	share1, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := <-newWorkers(key)
	e := streamed(t, share1, 1<<20)
	if code, err := w.read(t.Context(), share1, e); code != "" || err != nil {
		t.Fatal(code, err)
	}
	_, cuts := cutStream(e, w.blob, w.namer, 7)
	share(cuts, 1000, 333)
	var read, took uint32
	for _, c := range cuts {
		read, took = read+c.GetReadUs(), took+c.GetCutUs()
	}
	if read != 1000 || took != 333 {
		t.Errorf("%d of 1000 µs read, %d of 333 µs cut", read, took)
	}
}
