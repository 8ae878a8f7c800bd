package exporter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

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
	found map[number]bool // of an exporter before us, and not taken over yet
	freed chan struct{}   // closed and made anew when something goes
}

// foundFor is how long an exporter waits for the space of blobs that it found. Those
// that were told of are closed in seconds, without it. Of the others nobody knows;
// and where they leave no room for what lies before them, and was closed, and must be
// read again because the cursor is older still, they would be waited for until the
// lease ends. One that is given up too early costs an attempt.
const foundFor = 30 * time.Second

// newWindow finds what the lease has in staging already.
func newWindow(share *staging.Share, lease string, max int64) (*window, error) {
	w := &window{share: share, max: max, blobs: map[number][]staging.Blob{}, found: map[number]bool{}, freed: make(chan struct{})}
	all, err := share.Blobs(lease)
	for _, b := range all {
		var n number
		var unique string
		if _, err := fmt.Sscanf(b.Name, "%d-%d-%s", &n.file, &n.extent, &unique); err == nil {
			w.add(n, b)
			w.found[n] = true
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

// take makes blobs that were found ours.
func (w *window) take(n number) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.found, n)
}

// last is the last extent whose blobs were found: the one that is needed latest.
func (w *window) last() (n number, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at := range w.found {
		if !ok || at.file > n.file || at.file == n.file && at.extent > n.extent {
			n, ok = at, true
		}
	}
	return n, ok
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
		patience := time.NewTimer(foundFor)
		select {
		case <-freed:
		case <-patience.C:
			if n, ok := w.last(); ok {
				if err := w.free(n.file, n.extent); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			patience.Stop()
			return context.Cause(ctx)
		}
		patience.Stop()
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
		delete(w.found, n)
	}
	w.used -= charge(b.Bytes)
	close(w.freed)
	w.freed = make(chan struct{})
}
