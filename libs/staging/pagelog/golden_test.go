package pagelog

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update-golden", false, "write testdata anew: for a new version of the format")

// A log that version 1 wrote is the base of the first backup after an upgrade, and
// is read for ever; it is written today as it was.
func TestGoldenLogIsReadAndWritten(t *testing.T) {
	const file = "testdata/v1.log"
	l := Of(t.TempDir(), "s", "m")
	if err := write(t, l, leaseA).Seal(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(l.sealed(leaseA))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(golden, written) {
		t.Errorf("it is written otherwise: %d bytes, %d in version 1, %v", len(written), len(golden), err)
	}
	old := Of(t.TempDir(), "s", "m")
	if err := os.MkdirAll(filepath.Dir(old.sealed(leaseA)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old.sealed(leaseA), golden, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := old.Open(leaseA)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a, ok := log.File("a")
	if !ok || a.Size != 100 || a.Grid != 10 {
		t.Fatalf("file a: %+v", a)
	}
	for _, no := range []uint32{1, 3, 7} {
		if d := a.Page(no); d == nil || *d != *digests(byte(no)) {
			t.Errorf("page %d: %v", no, d)
		}
	}
}
