package uploader

import "github.com/holdfast-backup/holdfast/libs/vault"

// bodyBytes is room for a usual pack: its frames, and a tail of up to 1 MiB.
const bodyBytes = vault.PackBytes + 1<<20

// bodies are buffers of packs that were shipped, for the next ones: new ones of 16
// MiB each would keep the collector busy and be faulted in page by page.
type bodies struct{ free chan []byte }

// newBodies keeps at most so many: as many packs as are under way at once.
func newBodies(atOnce int) *bodies { return &bodies{make(chan []byte, atOnce)} }

// take returns a buffer with room for n bytes.
func (b *bodies) take(n int) []byte {
	select {
	case buf := <-b.free:
		if cap(buf) >= n {
			return buf
		}
	default:
	}
	return make([]byte, 0, max(n, bodyBytes))
}

// give takes back a buffer that nobody uses any more.
func (b *bodies) give(buf []byte) {
	select {
	case b.free <- buf:
	default:
	}
}
