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
	e := &schemas.ExtentExported{Run: &schemas.Run{Backup: make([]byte, 16), Lease: make([]byte, 16), Attempt: 1, Epoch: 1}, SnapshotId: "s",
		GridBytes: grid, FileBytes: uint64(len(blob)), Blob: ref, LengthBytes: uint32(len(blob)), Digests: cut.NewDigester(cut.DigestKey(key)).Blocks(nil, blob, grid)}
	for no := range uint32(places / cut.PagePlaces) {
		e.Pages = append(e.Pages, &schemas.ExtentPage{No: no, Data: ^uint64(0)})
	}
	return e
}

// streamed puts an extent of a stream, noise, into a share.
func streamed(t testing.TB, share *staging.Share, bytes int) *schemas.ExtentExported {
	e := staged(t, share, bytes/cut.GridMin, cut.GridMin)
	blob := make([]byte, bytes)
	if err := share.Read(t.Context(), e.Blob, blob, 0); err != nil {
		t.Fatal(err)
	}
	e.GridBytes, e.FileBytes, e.Pages, e.Digests = 0, 0, []*schemas.ExtentPage{{}}, cut.NewDigester(cut.DigestKey(key)).Blocks(nil, blob, 0)
	return e
}

// Each op is an extent of 16 MiB: its 256 chunks named, by their digests.
func BenchmarkGrid(b *testing.B) {
	share, err := staging.Open(b.TempDir(), staging.Options{})
	if err != nil {
		b.Fatal(err)
	}
	e, n := staged(b, share, 256, cut.GridDefault), cut.NewNamer(key)
	b.SetBytes(int64(e.LengthBytes))
	for b.Loop() {
		cutGrid(e, n, 4)
	}
}

// Each op is an extent of 4 MiB of a stream: read, hashed, cut, named.
func BenchmarkStream(b *testing.B) {
	share, err := staging.Open(b.TempDir(), staging.Options{})
	if err != nil {
		b.Fatal(err)
	}
	e := streamed(b, share, 4<<20)
	w := <-newWorkers(key)
	b.SetBytes(int64(e.LengthBytes))
	for b.Loop() {
		if code, err := w.read(b.Context(), share, e); code != "" || err != nil {
			b.Fatal(code, err)
		}
		cutStream(e, w.blob, w.namer, 4)
	}
}
