package house

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/torntest"
)

// run.json is read by scripts and by the command line of another version than the
// service's: version 1 is read for ever, and written as it was.
func TestGoldenRunFile(t *testing.T) {
	golden, err := os.ReadFile("testdata/run.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	want := RunFile{PID: 4711, Region: "local", Kafka: []string{"127.0.0.1:9092"}, Metrics: "http://127.0.0.1:40123/metrics",
		Ledger: &RunLedger{"127.0.0.1:9000", "http://127.0.0.1:8123", "viewer", "secret"}, Vault: []string{"/mnt/a", "/mnt/b"}}
	dir := t.TempDir()
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, runFile)
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, golden) {
		t.Errorf("it is written as %s, %v", b, err)
	}
	tomorrow := bytes.Replace(golden, []byte("{"), []byte(`{"of_tomorrow": [1],`), 1)
	for _, text := range [][]byte{golden, tomorrow} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadRunFile(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, %v", got, err)
		}
	}
}

// What a crash left of it is refused by name, and never taken for a service that
// runs, or for one with less.
func TestATornRunFileIsRefused(t *testing.T) {
	golden, err := os.ReadFile("testdata/run.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, runFile)
	check := func(how string, harmed []byte) {
		if err := os.WriteFile(file, harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := ReadRunFile(dir)
		if err == nil && len(bytes.TrimSpace(harmed)) == len(bytes.TrimSpace(golden)) {
			return // only the last newline is gone
		}
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %+v, %v", how, r, err)
		}
	}
	for how, harmed := range torntest.Crashes(golden) {
		check(how, harmed)
	}
	check("nothing", []byte("null"))
	check("no fields", []byte("{}"))
}
