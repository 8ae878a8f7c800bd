package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// streamBytes is what is gathered before it is passed on in order: the whole cost
// in memory, whatever the disk's size. A page of the largest grid is as much. Packs
// are read once for each such stretch, so a stream reads more than a restore does.
const streamBytes = 64 << 20

// Stream passes the chunks of a file that are not zero to f in ascending order,
// each good during the call; what is not passed is zero. done is as in
// RestoreOptions. The file must be cut on a grid.
func (r *Reader) Stream(ctx context.Context, p *Point, f *schemas.PointFile, emit func(off int64, b []byte) error, done func(bytes, written uint64)) error {
	if f.GridBytes == 0 {
		return fmt.Errorf("restore %s: it is no disk, and its chunks have no place of their own", f.Name)
	}
	if err := r.ring.Need(NameKey, PrivateKey); err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	page := f.GridBytes * cut.PagePlaces
	g := &gather{memory: make([]byte, 0, min(f.SizeBytes, uint64(max(page, streamBytes))))}
	var written uint64
	for w, err := range r.windows(ctx, p, f, max(1, streamBytes/page)) {
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		n, err := r.fill(ctx, w, f, g, false)
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		if err := g.pass(emit); err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		if written += n; done != nil {
			done(w.end, written)
		}
	}
	return nil
}

// gather is a sink that keeps what one window writes.
type gather struct {
	mu     sync.Mutex
	memory []byte // of all chunks, used again for each window
	chunks []gathered
}

type gathered struct {
	at   int64
	n, i int // bytes, and where in memory
}

// WriteAt keeps b. Where a shard was damaged, a place may come twice.
func (g *gather) WriteAt(b []byte, at int64) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chunks = append(g.chunks, gathered{at, len(b), len(g.memory)})
	g.memory = append(g.memory, b...)
	return len(b), nil
}

// ReadAt is for restores that compare, which none that is passed on does.
func (g *gather) ReadAt([]byte, int64) (int, error) { return 0, errOneWay }

var errOneWay = errors.New("what is converted can't be read back")

// pass hands the chunks on in order and forgets them.
func (g *gather) pass(emit func(off int64, b []byte) error) error {
	slices.SortFunc(g.chunks, func(a, b gathered) int { return cmp.Compare(a.at, b.at) })
	for i, c := range g.chunks {
		if i > 0 && c.at == g.chunks[i-1].at {
			continue
		}
		if err := emit(c.at, g.memory[c.i:c.i+c.n]); err != nil {
			return err
		}
	}
	g.memory, g.chunks = g.memory[:0], g.chunks[:0]
	return nil
}
