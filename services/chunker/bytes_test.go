package chunker

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// shareMax is what the records of an extent may have of its bytes: an id and a
// place of 64 KiB are 60 bytes, and a stream's chunks may be a quarter of that.
const shareMax = 0.004

// Kafka carries references. An extent of noise is told in records that hold no
// stretch of it, and together are a small share of it.
func TestTopicsCarryReferences(t *testing.T) {
	blob := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{1}).Read(blob)
	grid := &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16)}, Blob: "lease/blob", FileBytes: uint64(len(blob)),
		GridBytes: cut.GridDefault, LengthBytes: uint32(len(blob)), Pages: []*schemas.ExtentPage{{Data: ^uint64(0)}}}
	grid.Digests = cut.NewDigester(cut.DigestKey(key)).Blocks(nil, blob, cut.GridDefault)
	stream := &schemas.ExtentExported{Run: grid.Run, Blob: grid.Blob, LengthBytes: grid.LengthBytes, Pages: []*schemas.ExtentPage{{}}}
	x, cuts := cutGrid(grid, cut.NewNamer(key), 4)
	y, more := cutStream(stream, blob, cut.NewNamer(key), 4)
	for name, all := range map[string][]topics.Event{"grid": events(grid, x, cuts), "stream": events(stream, y, more),
		"exported": {topics.ExtentsExported.Event(nil, grid)}} {
		sum := 0
		for _, e := range all {
			sum += len(e.Value)
			for at := 0; at+32 <= len(blob); at += 4096 {
				if bytes.Contains(e.Value, blob[at:at+32]) {
					t.Fatalf("%s: a record of %s holds the bytes at %d", name, e.Topic.Name, at)
				}
			}
		}
		if share := float64(sum) / float64(len(blob)); share > shareMax || sum == 0 {
			t.Errorf("%s: %d bytes of records for %d, %.4f of them", name, sum, len(blob), share)
		}
	}
}
