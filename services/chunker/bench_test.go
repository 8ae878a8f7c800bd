package chunker

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/schemas"
)

var serial atomic.Int32 // names in staging are never used twice

// staged puts an extent of n full places of noise into a share.
func staged(t testing.TB, share *staging.Share, places int, grid uint32) *schemas.ExtentExported {
	blob := make([]byte, places*int(grid))
	rng := rand.NewChaCha8([32]byte{byte(places)})
	rng.Read(blob)
	ref, err := share.Put("lease", fmt.Sprint("blob", serial.Add(1)), blob)
	if err != nil {
		t.Fatal(err)
	}
	d := cut.NewDigester()
	proof := d.Proof(d.Blocks(nil, blob, grid))
	e := &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16), Attempt: 1, Epoch: 1}, SnapshotId: "s",
		GridBytes: grid, FileBytes: uint64(len(blob)), Blob: ref, LengthBytes: uint32(len(blob)), Proof: proof[:]}
	for no := range uint32(places / cut.PagePlaces) {
		e.Pages = append(e.Pages, &schemas.ExtentPage{No: no, Data: ^uint64(0)})
	}
	return e
}

// Each op is an extent of 16 MiB: read, hashed, cut, named.
func BenchmarkExtent(b *testing.B) {
	share, err := staging.Open(b.TempDir(), staging.Options{})
	if err != nil {
		b.Fatal(err)
	}
	e := staged(b, share, 256, cut.GridDefault)
	w := <-newWorkers(key)
	b.SetBytes(int64(e.LengthBytes))
	for b.Loop() {
		if code, err := w.read(b.Context(), share, e); code != "" || err != nil {
			b.Fatal(code, err)
		}
		divide(e, w.blob, w.blocks, w.namer, 4)
	}
}
