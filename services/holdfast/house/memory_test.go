package house

import "testing"

// On two cores a process of all stages must stay below 512 MB, of which 60 MiB are
// the program; and on any, buffers must not fill the limit, or the collector does
// nothing else.
func TestMemoryLimit(t *testing.T) {
	const program = 60 << 20
	if got := memoryLimit(2) + program; got > 512e6 {
		t.Errorf("two cores: %d bytes with the program", got)
	}
	for cores := 1; cores <= 128; cores++ {
		live := int64(atOnce(8, cores)*(readerMiB+packMiB)+cores*coreMiB+otherMiB) << 20
		if limit := memoryLimit(cores); limit < live+spareMiB<<20 {
			t.Errorf("%d cores: the limit is %d MiB, and %d live", cores, limit>>20, live>>20)
		}
	}
	if e, u := exporterDefault(), uploaderDefault(); e.Readers < 1 || u.AtOnce < 1 {
		t.Errorf("%+v, %+v", e, u)
	}
}
