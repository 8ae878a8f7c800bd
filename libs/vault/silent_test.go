package vault

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// m targets are down, and all that is read comes back: not one patience for each
// pack, but one each while, and as fast as ever once they are back. In virtual time.
func TestSilentTargetsAreAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, 2, 1)
		w := r.writer(nil)
		ring, err := NewRing()
		r.must(err)
		packs := map[PackID][]byte{}
		for i := range 60 {
			id, data := NewPackID(1), noise(byte(i), 1000)
			packs[id] = data
			landed, err := w.Pack(t.Context(), id, false, data)
			r.must(err)
			<-landed.Done()
		}
		r.open()
		reader, err := r.v.Reader(ring)
		r.must(err)
		r.faults[0].Down(true)
		r.faults[2].Down(true)
		read := func() time.Duration {
			began := time.Now()
			for id, want := range packs {
				reader.wholes.Purge()
				reader.lengths.Purge()
				r.must(reader.sound(t.Context(), id, false, 0, int64(len(want)), func(b []byte) error {
					if !bytes.Equal(b, want) {
						t.Errorf("pack %s came back as other bytes", id)
					}
					return nil
				}))
			}
			return time.Since(began)
		}
		if took := read(); took > 15*time.Second {
			t.Errorf("60 packs with 2 of 6 targets down took %s", took)
		}
		time.Sleep(2 * silentFor)
		first, second := r.faults[0].Down(false), r.faults[2].Down(false)
		before, before2 := first.Calls(), second.Calls()
		took := read()
		if n, n2 := first.Calls()-before, second.Calls()-before2; took > 0 || n < len(packs) || n2 < len(packs) {
			t.Errorf("they are back: 60 packs took %s, with %d and %d reads of them", took, n, n2)
		}
		// All but k-1 are silent: they are asked all the same.
		for _, f := range r.faults {
			f.Down(true)
		}
		for id := range packs {
			if err := reader.sound(t.Context(), id, false, 0, 10, func([]byte) error { return nil }); err == nil {
				t.Fatal("read, with all targets down")
			}
			break
		}
		for _, f := range r.faults {
			f.Down(false)
		}
		if took := read(); took > 0 {
			t.Errorf("all are back at once: 60 packs took %s", took)
		}
	})
}
