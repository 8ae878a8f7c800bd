package chunker

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const grid = cut.GridMin

var key = [32]byte{1, 2, 3}

// extent draws one of a disk of 3 pages and a bit, and its bytes.
func extent(t *rapid.T) (*schemas.ExtentExported, []byte) {
	e := &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16), Attempt: 1, Epoch: 1},
		SnapshotId: "s", File: 2, GridBytes: grid, Extent: 5, Blob: "l/blob"}
	e.FileBytes = uint64(rapid.IntRange(1, 4*cut.PagePlaces*grid).Draw(t, "size"))
	e.HasBase, e.BaseFile = true, 1
	var blob []byte
	for no := range uint32(4) {
		page := &schemas.ExtentPage{No: no}
		some := rapid.Uint64().Draw(t, "data")
		for bit := range cut.PagePlaces {
			n := lengthAt(e, place(no, bit))
			if n == 0 {
				break
			}
			switch {
			case some>>bit&1 == 0:
				page.Zero |= 1 << bit & rapid.Uint64().Draw(t, "zero")
			default:
				page.Data |= 1 << bit
				b := make([]byte, n)
				if fill := rapid.Byte().Draw(t, "fill"); fill > 100 {
					for i := range b {
						b[i] = fill - byte(i)
					}
				}
				blob = append(blob, b...)
			}
		}
		page.Claimed = (page.Data | page.Zero) & rapid.Uint64().Draw(t, "claimed")
		if page.Data|page.Zero != 0 {
			e.Pages = append(e.Pages, page)
		}
	}
	e.LengthBytes, e.Digests = uint32(len(blob)), cut.NewDigester(cut.DigestKey(key)).Blocks(nil, blob, grid)
	return e, blob
}

// Goal: nothing of an extent is lost or made up. Method: from the cut alone,
// the blob is put together again; each page's digest is over exactly its chunks.
func TestCutTellsAllOfAnExtent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, blob := extent(t)
		if err := check(e); err != nil {
			t.Fatal(err)
		}
		parts := rapid.Int32Range(1, 5).Draw(t, "parts")
		x, cuts := cutGrid(e, cut.NewNamer(key), parts)
		again, cutsAgain := cutGrid(e, cut.NewNamer(key), parts)
		if !proto.Equal(x, again) || !slices.EqualFunc(cuts, cutsAgain, func(a, b *schemas.ChunksCut) bool { return proto.Equal(a, b) }) {
			t.Fatal("the same extent was cut twice, differently")
		}
		type ref struct {
			id          []byte
			off, length uint32
		}
		refs := map[uint64]ref{}
		for part, c := range cuts {
			for i, at := range c.GetRefs().GetPlaces() {
				id := c.Refs.Ids[32*i : 32*i+32]
				if topics.ChunkPart(id, parts) != int32(part) {
					t.Fatalf("place %d is in partition %d", at, part)
				}
				if _, twice := refs[at]; twice {
					t.Fatalf("place %d twice", at)
				}
				refs[at] = ref{id, c.Refs.Offsets[i], c.Refs.Lengths[i]}
			}
		}
		at := uint32(0)
		for i, p := range x.Pages {
			was := e.Pages[i]
			if p.No != was.No || p.Data|p.Zero != was.Data|was.Zero || p.Data&^was.Data != 0 || p.Claimed != was.Claimed {
				t.Fatalf("page %v became %v", was, p)
			}
			var places []uint64
			var ids []byte
			for data := was.Data; data != 0; data &= data - 1 {
				at0 := place(p.No, bits.TrailingZeros64(data))
				n := uint32(lengthAt(e, at0))
				plain := blob[at : at+n]
				r, there := refs[at0]
				if there == cut.Zero(plain) {
					t.Fatalf("place %d: zero %v, chunk %v", at0, cut.Zero(plain), there)
				}
				if there {
					if id := cut.NewNamer(key).ID(plain); r.off != at || r.length != n || !bytes.Equal(r.id, id[:]) {
						t.Fatalf("place %d: %v, want offset %d length %d", at0, r, at, n)
					}
					places, ids = append(places, at0), append(ids, r.id...)
				}
				at += n
			}
			if d := cut.PageDigest(places, ids); !bytes.Equal(d[:], p.Digest) || bits.OnesCount64(p.Data) != len(places) {
				t.Fatalf("page %d: digest or bits are of other places", p.No)
			}
		}
	})
}

// A stream's extent is one page of at most 64 chunks that follow each other
// without gap. Noise of 4 MiB has fewer; of 8 MiB it would have more.
func TestStreamIsOnePage(t *testing.T) {
	full := 0
	for seed := range byte(6) {
		blob := make([]byte, 4<<20*(1+int(seed)%2)-int(seed)*1000)
		rng := rand.NewChaCha8([32]byte{seed})
		rng.Read(blob)
		clear(blob[1<<20 : 1<<20+int(seed)<<16]) // zeros of a stream are chunks too
		e := &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16)}, Digests: cut.NewDigester(cut.DigestKey(key)).Blocks(nil, blob, 0), Blob: "l/b",
			Pages: []*schemas.ExtentPage{{No: 7}}, LengthBytes: uint32(len(blob))}
		if err := check(e); err != nil {
			t.Fatal(err)
		}
		c, cuts := cutStream(e, blob, cut.NewNamer(key), 1)
		at := uint32(0)
		for i, off := range cuts[0].Refs.Offsets {
			if off != at || cuts[0].Refs.Places[i] != uint64(7*64+i) {
				t.Fatalf("chunk %d at %d, place %d", i, off, cuts[0].Refs.Places[i])
			}
			at += cuts[0].Refs.Lengths[i]
		}
		chunks := len(cuts[0].Refs.Places)
		if int(at) != len(blob) || chunks > cut.PagePlaces || bits.OnesCount64(c.Pages[0].Data) != chunks || bits.Len64(c.Pages[0].Data) != chunks {
			t.Fatalf("%d of %d bytes in %d chunks, bits %b", at, len(blob), chunks, c.Pages[0].Data)
		}
		if chunks == cut.PagePlaces {
			full++
		}
	}
	if full == 0 {
		t.Error("no extent had 64 chunks: the bound was not tried")
	}
}

func TestFalseExtentsAreRefused(t *testing.T) {
	good := func() *schemas.ExtentExported {
		return &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16)}, Digests: make([]byte, 64), Blob: "l/b",
			GridBytes: grid, FileBytes: 2*grid + 1, LengthBytes: grid + 1, Pages: []*schemas.ExtentPage{{No: 0, Data: 0b101, Zero: 0b010}}}
	}
	if err := check(good()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		mar  func(*schemas.ExtentExported)
	}{
		{"lease", func(e *schemas.ExtentExported) { e.Run.Lease = nil }},
		{"backup", func(e *schemas.ExtentExported) { e.Run = nil }},
		{"at most", func(e *schemas.ExtentExported) { e.LengthBytes = 16<<20 + 1 }},
		{"digests", func(e *schemas.ExtentExported) { e.Digests = e.Digests[1:] }},
		{"for 2 blocks", func(e *schemas.ExtentExported) { e.Digests = make([]byte, 96) }},
		{"some bytes", func(e *schemas.ExtentExported) {
			e.GridBytes, e.LengthBytes, e.Pages = 0, 0, []*schemas.ExtentPage{{}}
		}},
		{"for 1 blocks", func(e *schemas.ExtentExported) { e.GridBytes, e.Pages = 0, []*schemas.ExtentPage{{}} }},
		{"lease/name", func(e *schemas.ExtentExported) { e.Blob = "b" }},
		{"power of two", func(e *schemas.ExtentExported) { e.GridBytes = 5000 }},
		{"want one", func(e *schemas.ExtentExported) { e.GridBytes, e.Pages = 0, nil }},
		{"both", func(e *schemas.ExtentExported) { e.Pages[0].Zero = 1 }},
		{"end", func(e *schemas.ExtentExported) { e.Pages[0].Data |= 1 << 3 }},
		{"take", func(e *schemas.ExtentExported) { e.LengthBytes++ }},
		{"claimed unchanged", func(e *schemas.ExtentExported) { e.Pages[0].Claimed = 1 << 3 }},
		{"after page", func(e *schemas.ExtentExported) { e.Pages = append(e.Pages, e.Pages[0]) }},
	} {
		e := good()
		c.mar(e)
		if err := check(e); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
	}
}
