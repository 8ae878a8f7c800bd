package vault

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Sink takes a restored file. WriteAt is called concurrently, each byte once.
type Sink interface {
	io.WriterAt
	io.ReaderAt
}

// RestoreOptions are of one file.
type RestoreOptions struct {
	// Compare reads the sink first and writes only what differs: to go on after
	// a crash, or to restore over what is there. Without it the sink must be
	// empty: zero places are left as holes.
	Compare bool
	// Done is told, in order, that all below these bytes of the file is right.
	Done func(bytes, written uint64)
}

// windowPages is what is restored at once: 64 pages of 64 places, 256 MiB of a
// 64 KiB grid, so that most packs are read once a file. It costs 80 bytes a place.
const windowPages = 64

// Restore writes one file of a point into to. Every chunk's name is compared
// before it is written. The error says which place of which file is lost.
func (r *Reader) Restore(ctx context.Context, p *Point, f *schemas.PointFile, to Sink, o RestoreOptions) error {
	if err := r.ring.Need(NameKey, PrivateKey); err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	var written uint64
	for w, err := range r.windows(ctx, p, f, windowPages) {
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		n, err := r.fill(ctx, w, f, to, o.Compare)
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		written += n
		if o.Done != nil {
			o.Done(w.end, written)
		}
	}
	return nil
}

// window is neighbouring pages of a file.
type window struct {
	end    uint64 // byte of the file behind it
	wants  []want
	zeroes []hole
}

// want is a chunk that must come to lie at a byte of the file.
type want struct {
	PagePlace
	at    uint64
	plain uint32
}

// hole is a stretch of zero bytes.
type hole struct{ at, n uint64 }

// windows yields the windows of a file, each of so many pages that are not all
// zero, in order.
func (r *Reader) windows(ctx context.Context, p *Point, f *schemas.PointFile, most uint32) iter.Seq2[window, error] {
	return func(yield func(window, error) bool) {
		var w window
		pages := uint32(0)
		flush := func() bool {
			ok := yield(w, nil)
			w, pages = window{end: w.end}, 0
			return ok
		}
		for run := range Runs(p, f) {
			for done := uint32(0); done < run.Count; {
				n := min(run.Count-done, most-pages)
				if run.Map.IsZero() {
					n = run.Count - done // holes cost nothing: one window takes them all
					from := uint64(run.First+done) * uint64(f.GridBytes) * cut.PagePlaces
					to := min(f.SizeBytes, from+uint64(n)*uint64(f.GridBytes)*cut.PagePlaces)
					w.zeroes, w.end = append(w.zeroes, hole{from, to - from}), to
				} else {
					slots := make([]uint32, n)
					for i := range slots {
						slots[i] = run.Slot + done + uint32(i)
					}
					got, err := r.Pages(ctx, run.Map, slots)
					if err == nil {
						err = w.take(f, got, run.First+done)
					}
					if err != nil {
						yield(w, err)
						return
					}
					pages += n
				}
				done += n
				if pages == most && !flush() {
					return
				}
			}
		}
		if len(w.wants)+len(w.zeroes) > 0 {
			flush()
		}
	}
}

// take adds pages. A page that is not where it must be is damage, whatever its seal says.
func (w *window) take(f *schemas.PointFile, pages []Page, first uint32) error {
	for i, p := range pages {
		if p.No != first+uint32(i) {
			return fmt.Errorf("page %d: %w: it says that it is page %d", first+uint32(i), ErrDamaged, p.No)
		}
		at := p.Start
		if f.GridBytes > 0 && at != uint64(p.No)*uint64(f.GridBytes)*cut.PagePlaces {
			return fmt.Errorf("page %d: %w: it begins at byte %d", p.No, ErrDamaged, at)
		}
		for j, place := range p.Places {
			n := uint64(place.Plain)
			if f.GridBytes > 0 {
				n = min(uint64(f.GridBytes), f.SizeBytes-min(at, f.SizeBytes))
			}
			if place.Kind == PlaceAbsent || n == 0 {
				continue
			}
			if at+n > f.SizeBytes {
				return fmt.Errorf("page %d, place %d: %w: it ends behind the file's %d bytes", p.No, j, ErrDamaged, f.SizeBytes)
			}
			if place.Kind == PlaceZero {
				w.zeroes = append(w.zeroes, hole{at, n})
			} else {
				w.wants = append(w.wants, want{place, at, uint32(n)})
			}
			at += n
		}
		w.end = at
	}
	return nil
}

// fill restores one window, its packs side by side.
func (r *Reader) fill(ctx context.Context, w window, f *schemas.PointFile, to Sink, compare bool) (uint64, error) {
	if compare {
		for _, h := range w.zeroes {
			if err := clearRange(to, h); err != nil {
				return 0, err
			}
		}
	}
	slices.SortFunc(w.wants, func(a, b want) int {
		return cmp.Or(a.Pack.Compare(b.Pack), cmp.Compare(a.Offset, b.Offset))
	})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1) // one more than cores: it waits for a target
	var n atomic.Uint64
	for some := range byPack(w.wants) {
		g.Go(func() error {
			written, err := r.unpack(ctx, some, f, to, compare)
			n.Add(written)
			return err
		})
	}
	err := g.Wait()
	return n.Load(), err
}

// byPack yields the wants of each pack.
func byPack(wants []want) iter.Seq[[]want] {
	return func(yield func([]want) bool) {
		for i := 0; i < len(wants); {
			j := i + 1
			for j < len(wants) && wants[j].Pack == wants[i].Pack {
				j++
			}
			if !yield(wants[i:j]) {
				return
			}
			i = j
		}
	}
}

// opener is what one worker needs to open chunks; making one costs more than
// opening a chunk does.
type opener struct {
	*seal.Opener
	namer *cut.Namer
	plain []byte
	there []byte
}
