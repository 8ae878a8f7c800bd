package auditor

import (
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// A stream is cut by its content: a page is one extent, and its chunks say their
// lengths, which must add up to the extent's end.
func TestStreamPages(t *testing.T) {
	const size = streamExtent + 1000
	for _, last := range []uint32{1000, 999} {
		a := newAttempt(testLease)
		a.leased = &schemas.BackupLeased{Run: &schemas.Run{Backup: testBackup.Bytes(), Lease: testLease.Bytes(), Attempt: 1}}
		var got []vault.Page
		for no, lengths := range [][]uint32{{streamExtent - 5, 5}, {last}} {
			e := &schemas.ExtentCut{Run: a.run(), SnapshotId: "s", FileBytes: size, Extent: uint64(no)}
			page := &schemas.CutPage{No: uint32(no), Data: 1<<len(lengths) - 1}
			r := answers{ext: extentID{0, uint64(no)}, fresh: true, places: &schemas.Places{Packs: []*schemas.Pack{testPack('p', 1).Proto()}}}
			for i, n := range lengths {
				id := testID("stream", uint64(no), uint64(i))
				r.places.Places = append(r.places.Places, uint64(no)*64+uint64(i))
				r.places.Ids = append(r.places.Ids, id[:]...)
				r.places.Pack, r.places.Offsets = append(r.places.Pack, 0), append(r.places.Offsets, 0)
				r.places.Framed, r.places.Lengths = append(r.places.Framed, 90), append(r.places.Lengths, n)
			}
			d := cut.PageDigest(r.places.Places, r.places.Ids)
			page.Digest = d[:]
			e.Pages = append(e.Pages, page)
			if err := checkCut(e); err != nil {
				t.Fatal(err)
			}
			if err := checkPlaces(r.places); err != nil {
				t.Fatal(err)
			}
			if _, zero, f := a.expect(e); f != nil || zero {
				t.Fatal(f, zero)
			}
			if _, f := a.answer(r); f != nil {
				t.Fatal(f)
			}
			ready, _ := a.take()
			out, blank, f := ready[0].build(ready[0].ext.shape)
			if f != nil && no == 1 && last == 999 {
				return // it would end before the stream does
			}
			if f != nil || blank {
				t.Fatal(f, blank)
			}
			got = append(got, out)
		}
		if got[0].Start != 0 || got[1].Start != streamExtent || got[1].Places[0].Plain != last || len(got[0].Places) != 2 {
			t.Fatalf("pages %v", got)
		}
	}
	t.Fatal("a stream with a hole at its end was taken")
}
