package topics

import (
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// The vectors of Kafka's own UtilsTest: a client of another language must find
// the partition that we look in.
func TestKeysHashAsKafkaDoes(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	e := BackupsLeased.Event([]byte("k"), &schemas.BackupLeased{Run: &schemas.Run{Attempt: 3}})
	v, err := BackupsLeased.Decode(e.Value)
	if err != nil || v.GetRun().GetAttempt() != 3 {
		t.Fatalf("got %v, %v", v, err)
	}
	if _, err := BackupsLeased.Decode([]byte{0xff}); err == nil {
		t.Fatal("a torn record was decoded")
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All() {
		if seen[s.Name] || s.Why == "" || s.Writer == "" || s.Reader == "" {
			t.Errorf("topic %q is there twice or says too little", s.Name)
		}
		seen[s.Name] = true
	}
}

// Of two rivals in an order the first wins; compaction keeps the last of a key.
func TestNoOrderIsCompacted(t *testing.T) {
	for _, s := range All() {
		if s.Width == Single && (s.Compacted || s.Keep != 0) {
			t.Errorf("%s: compacted %v, kept %s: an order is kept whole", s.Name, s.Compacted, s.Keep)
		}
	}
	if EpochsTurned.Width != Single || EpochsTurned.Kind != Table {
		t.Error("epochs.turned is no order")
	}
}
