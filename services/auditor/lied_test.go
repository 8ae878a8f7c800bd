package auditor

import (
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// The lies of neighbouring pages, which share a run of their row, add up on their
// file, once for each page however often the row is applied.
func TestLiesOfARunAddUp(t *testing.T) {
	a := newAttempt(testLease)
	a.leased = &schemas.BackupLeased{Run: &schemas.Run{}}
	e := &extent{id: extentID{file: 3}, pages: map[uint32]*page{}}
	var batch []filing
	for no, lied := range []uint64{2, 0, 5} {
		p := &page{ext: e, no: uint32(no), totals: &schemas.Totals{ClaimedPlaces: 64, LiedPlaces: lied}}
		e.pages[p.no] = p
		batch = append(batch, filing{a: a, p: p, slot: uint32(no)})
	}
	row := rowOf(a, testPack('m', 1), 3, batch)
	if len(row.Runs) != 1 {
		t.Fatalf("runs: %v", row.Runs)
	}
	for range 2 {
		if f := a.apply("row", row); f != nil {
			t.Fatal(f)
		}
	}
	if f := a.apply("a rival's", row); f != nil {
		t.Fatal(f)
	}
	if got := a.file(3).lied; got != 7 || a.totals.LiedPlaces != 7 || a.totals.ClaimedPlaces != 192 {
		t.Errorf("%d places of the file lie, want 7; in all %v", got, &a.totals)
	}
}
