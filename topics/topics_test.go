package topics

import (
	"slices"
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

// What a log, a header and a command call a record is one thing.
func TestPositionsComeBack(t *testing.T) {
	p := Position{"chunks.cut", 3, 17}
	for _, s := range []string{p.String(), "chunks.cut/3@17"} {
		if got, err := ParsePosition(s); err != nil || got != p {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "chunks.cut", "chunks.cut/3", "/3/17", "chunks.cut/-1/0", "chunks.cut/3/17/1", "chunks.cut/3000000000/1", "a/1/x"} {
		if got, err := ParsePosition(s); err == nil {
			t.Errorf("%q names %v", s, got)
		}
	}
}

// Every topic but the public ones can be shown by name; a length tells key from value.
func TestMessagesByName(t *testing.T) {
	for _, s := range All() {
		m, ok, err := Message(s, nil)
		if s.Name == ExportsOpen.Name && err != nil { // which wants an order
			continue
		}
		if ok != (s.Kind != Public) || err != nil || ok && m == nil {
			t.Errorf("%s: %v, %v, %v", s.Name, m, ok, err)
		}
		if named, ok := Named(s.Name); !ok || named != s {
			t.Errorf("%s is not found by its name", s.Name)
		}
	}
	if _, ok := Named("chunks.cut.refused"); ok {
		t.Error("a topic of no catalogue is found")
	}
	if RowDigest(ExportsOpen.Spec, 0, []byte("ab"), []byte("c")) == RowDigest(ExportsOpen.Spec, 0, []byte("a"), []byte("bc")) ||
		RowDigest(ExportsOpen.Spec, 0, nil, nil) == RowDigest(PagesFiled.Spec, 0, nil, nil) ||
		RowDigest(ExportsOpen.Spec, 0, nil, nil) == RowDigest(ExportsOpen.Spec, 1, nil, nil) {
		t.Error("two rows have one name")
	}
}

// A region is there when all that is asked for is, and nothing else that looks like it.
func TestRegions(t *testing.T) {
	names := []string{"eu-1.backups.queued", "eu-1.backups.leased", "us-1.backups.queued", "a.b.backups.queued", "a.b.backups.leased",
		"backups.queued", "backups.leased", ".backups.queued", ".backups.leased", "eu-1.backups.queued.refused", "ap.backups.leased", "ap.backups.queued"}
	if got, want := Regions(names, BackupsQueued.Spec, BackupsLeased.Spec), []string{"ap", "eu-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
