package index

import (
	"testing"

	"github.com/holdfast-backup/holdfast/libs/torntest"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

// Goal: whatever a crash or a disk did to one file of the index, no chunk is found
// where it is not, and none in a pack that is dead: what can't be read is forgotten.
// Method: an index of several flushes, each file of it harmed in each way; it may
// refuse once, for the next open to begin anew.
func TestTornIndexForgets(t *testing.T) {
	dir := t.TempDir()
	const last = 300
	m := build(t, dir, last)
	torntest.Each(t, dir, torntest.Ways, func(name string) bool { return name == "LOCK" }, func(t *testing.T, dir, harmed string) {
		d := At(dir, Options{})
		p, err := d.Part(0)
		if err != nil {
			t.Log("refused once: ", err)
			p = part(t, d)
		}
		defer p.Close()
		s, _ := p.State()
		if s.Next != 0 && s.Next != last && s.Next != last/2 {
			t.Errorf("it stands at %d, where it was never flushed", s.Next)
		}
		for c := range last {
			id := chunkNo(c)
			at, ok, err := p.Find(id[:])
			if !ok || err != nil {
				continue
			}
			if want := (Place{packNo(1, c), uint32(c), uint32(c + 1)}); at != want {
				t.Errorf("%s: chunk %d is found at %v, it lies at %v", harmed, c, at, want)
			}
			if s.Next == last && m.dead[at.Pack] {
				t.Errorf("%s: chunk %d is found in a dead pack", harmed, c)
			}
		}
	})
}

// build takes in so many rows, flushed at half and at the end, the last of which
// condemns a pack; a chunk c lies in pack c.
func build(t *testing.T, dir string, n int) *model {
	t.Helper()
	d := At(dir, Options{})
	p := part(t, d)
	if err := p.Begin([16]byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	m := &model{at: map[int]vault.PackID{}, dead: map[vault.PackID]bool{}}
	for i := range n {
		s := step{kind: "store", pack: packNo(1, i), chunks: []int{i}}
		if i == n-1 {
			s = step{kind: "condemn", pack: packNo(1, 7)}
		}
		m.take(s)
		if err := take(p, s, int64(i+1)); err != nil {
			t.Fatal(err)
		}
		if i+1 == n/2 {
			if err := d.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}
