package exporter

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/staging"
)

// block is what a blob takes at least, whatever is in it: a block of the share's
// file system. So a window bounds the number of blobs, too.
const block = 4 << 10

func charge(bytes int64) int64 { return max(block, (bytes+block-1)&^(block-1)) }

// number names an extent of a lease.
type number struct {
	file   uint32
	extent uint64
}

// window is the space of one lease in staging: what is in it, and how much of
// that there may be. An extent has one blob; or some, if an exporter that was
// thought dead staged it beside its successor.
type window struct {
	share *staging.Share
	max   int64

	mu    sync.Mutex
	used  int64
	blobs map[number][]staging.Blob
	freed chan struct{} // closed and made anew when something goes
}

// newWindow finds what the lease has in staging already.
func newWindow(share *staging.Share, lease string, max int64) (*window, error) {
	w := &window{share: share, max: max, blobs: map[number][]staging.Blob{}, freed: make(chan struct{})}
	all, err := share.Blobs(lease)
	for _, b := range all {
		var n number
		var unique string
		if _, err := fmt.Sscanf(b.Name, "%d-%d-%s", &n.file, &n.extent, &unique); err == nil {
			w.add(n, b)
		}
	}
	return w, err
}

func (w *window) add(n number, b staging.Blob) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used += charge(b.Bytes)
	w.blobs[n] = append(w.blobs[n], b)
}

// at are the blobs of an extent, which is told with any of them.
func (w *window) at(n number) []staging.Blob {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.blobs[n])
}

// wait returns when a blob of so many bytes fits. One that is bigger than the
// window fits when it is alone.
func (w *window) wait(ctx context.Context, bytes int64) error {
	for {
		w.mu.Lock()
		fits := w.used == 0 || w.used+charge(bytes) <= w.max
		freed := w.freed
		w.mu.Unlock()
		if fits {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// free gives an extent's space back, all of it. It is the same twice.
func (w *window) free(file uint32, extent uint64) error {
	n := number{file, extent}
	for _, b := range w.at(n) {
		if err := w.share.Free(b.Ref); err != nil {
			return err
		}
		w.drop(n, b)
	}
	return nil
}

func (w *window) drop(n number, b staging.Blob) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.blobs[n], b)
	if i < 0 {
		return
	}
	if w.blobs[n] = slices.Delete(w.blobs[n], i, i+1); len(w.blobs[n]) == 0 {
		delete(w.blobs, n)
	}
	w.used -= charge(b.Bytes)
	close(w.freed)
	w.freed = make(chan struct{})
}
