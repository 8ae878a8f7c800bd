package chunker

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const parts = 3

func send(b *stagetest.Bench, e *schemas.ExtentExported) stagetest.Sent {
	return b.Send(topics.ExtentsExported.Event(topics.ExtentKey(e.Run.Backup, e.File, e.Extent), e))[0]
}

// Goal: every extent is told whole before it is committed, each time alike.
// Method: extents of random length, while members come, go and crash on a wire
// that tears; each is checked against its own cut, made here.
func TestExtentsAreToldWholeThroughCrashes(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			share, err := staging.Open(t.TempDir(), staging.Options{})
			if err != nil {
				t.Fatal(err)
			}
			stagetest.Run(t, seed, Stage(Default(), Deps{Staging: share, NameKey: key}), parts, func(b *stagetest.Bench) {
				at, want := map[stagetest.Sent]uint64{}, map[uint64]*schemas.ExtentExported{}
				m := b.Join(0.1)
				for step := range 8 {
					for range 5 {
						e := staged(t, share, cut.PagePlaces*(1+b.Rand.IntN(2)), cut.GridMin)
						e.Extent = uint64(len(want))
						want[e.Extent] = e
						at[send(b, e)] = e.Extent
					}
					time.Sleep(time.Duration(b.Rand.IntN(3000)) * time.Millisecond)
					if step%3 == 1 {
						[]func(){m.Leave, m.Crash}[b.Rand.IntN(2)]()
						m = b.Join(0.1)
					}
					told(b, at, want)
				}
				if !b.Settled() {
					b.Dump(10)
					t.Fatal("not settled")
				}
				told(b, at, want)
			})
		})
	}
}

// told fails if a committed extent is not told whole, or one is told wrongly.
func told(b *stagetest.Bench, at map[stagetest.Sent]uint64, want map[uint64]*schemas.ExtentExported) {
	b.T.Helper()
	committed := b.Committed(topics.ExtentsExported.Spec)
	pages, refs := map[uint64]*schemas.ExtentCut{}, map[uint64]map[uint64][]byte{}
	for _, x := range stagetest.Read(b, topics.ExtentsCut) {
		if old := pages[x.Extent]; old != nil && !proto.Equal(old, x) {
			b.T.Fatalf("extent %d was told twice, differently", x.Extent)
		}
		pages[x.Extent] = x
	}
	for _, rec := range b.Records(topics.ChunksCut.In(stagetest.Region)) {
		c, err := topics.ChunksCut.Decode(rec.Value)
		if err != nil {
			b.T.Fatal(err)
		}
		if refs[c.Extent] == nil {
			refs[c.Extent] = map[uint64][]byte{}
		}
		for i, place := range c.Refs.Places {
			id := c.Refs.Ids[32*i : 32*i+32]
			if topics.ChunkPart(id, parts) != rec.Partition {
				b.T.Fatalf("chunk %x is in partition %d", id, rec.Partition)
			}
			refs[c.Extent][place] = id
		}
	}
	for sent, no := range at {
		if sent.Offset >= committed[sent.Part] {
			continue
		}
		e, x := want[no], pages[no]
		if x == nil || len(refs[no]) != int(e.LengthBytes/e.GridBytes) {
			b.T.Fatalf("extent %d at %v is committed (%d): cut told %v, %d places", no, sent, committed[sent.Part], x != nil, len(refs[no]))
		}
		for _, p := range x.Pages {
			var places []uint64
			var ids []byte
			for bit := range cut.PagePlaces {
				places, ids = append(places, place(p.No, bit)), append(ids, refs[no][place(p.No, bit)]...)
			}
			if d := cut.PageDigest(places, ids); !bytes.Equal(d[:], p.Digest) {
				b.T.Fatalf("extent %d, page %d: its digest is of other chunks", no, p.No)
			}
		}
	}
}

// Lost bytes of a stream are told as a fault and hold up nobody; a blob that shows up
// late is cut. What is lost of a disk is found by whoever stores it.
func TestLostAndLateBytes(t *testing.T) {
	share, err := staging.Open(t.TempDir(), staging.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stagetest.Run(t, 1, Stage(Default(), Deps{Staging: share, NameKey: key}), 1, func(b *stagetest.Bench) {
		b.Join(0)
		var all []*schemas.ExtentExported
		for i := range 5 { // 0 good, 1 torn, 2 freed, 3 late, 4 of a lease that is gone
			e := streamed(t, share, 256<<10)
			e.Extent = uint64(i)
			if e.Blob, err = share.Put([]string{"lease", "gone"}[i/4], fmt.Sprint(i), read(t, share, e)); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		body := read(t, share, all[3])
		all[1].Digests = slices.Repeat([]byte{7}, len(all[1].Digests))
		for _, i := range []int{2, 3} {
			if err := share.Free(all[i].Blob); err != nil {
				t.Fatal(err)
			}
		}
		if err := share.RemoveLease("gone"); err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			send(b, e)
		}
		time.Sleep(2 * time.Second)
		if got := len(stagetest.Read(b, topics.ExtentsCut)); got != 1 {
			t.Errorf("%d extents cut at once, want the good one", got)
		}
		if _, err := share.Put("lease", "3", body); err != nil {
			t.Fatal(err)
		}
		if !b.Settled() {
			t.Fatal("not settled")
		}
		codes := map[uint64]string{}
		for _, f := range stagetest.Read(b, topics.BackupsFaulted) {
			codes[f.Extent] = f.Code
		}
		if want := (map[uint64]string{1: "staging.hash", 2: "staging.missing", 4: "staging.missing"}); fmt.Sprint(codes) != fmt.Sprint(want) {
			t.Errorf("faults %v, want %v", codes, want)
		}
		if got := len(stagetest.Read(b, topics.ExtentsCut)); got != 2 {
			t.Errorf("%d extents cut, want the good and the late one", got)
		}
	})
}

func read(t *testing.T, share *staging.Share, e *schemas.ExtentExported) []byte {
	body := make([]byte, e.LengthBytes)
	if err := share.Read(t.Context(), e.Blob, body, 0); err != nil {
		t.Fatal(err)
	}
	return body
}
