package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/holdfast-backup/holdfast/libs/source"
)

const (
	// stretchGrain is what areas are rounded out to: the finest that hosts track and
	// the vault's grid.
	stretchGrain = 64 << 10
	// stretchMax is the most that one request asks for: as much as is lost if its
	// connection breaks.
	stretchMax = 64 << 20
	// A request costs a round trip, some 256 KiB of a gigabit line: a shorter gap is
	// read and dropped, as long as all gaps are a 20th of what was named.
	gapMax   = 256 << 10
	gapShare = 20
)

// ranges reads a disk's flat file, in stretches of what Changed named. Its reader
// asks in ascending order, so a stretch is one request whose answer is read as it comes.
type ranges struct {
	n    *snapshot
	x    *disk
	url  *url.URL
	plan func() (source.Range, error, bool) // the next stretch
	stop func()

	stretch source.Range // the one that was planned last
	body    io.ReadCloser
	cancel  context.CancelFunc
	at, end int64 // what is left of the body
}

func (n *snapshot) openRanges(ctx context.Context, x *disk) (source.Reader, error) {
	r := &ranges{n: n, x: x}
	if err := r.locate(ctx); err != nil {
		return nil, n.fail(x, "find its flat file", err)
	}
	changed := each([]source.Range{{Len: x.size}})
	if id := n.since[x.key]; id != "" {
		changed = n.areas(ctx, x, id)
	}
	r.plan, r.stop = iter.Pull2(stretches(changed, x.size))
	return r, nil
}

// locate finds where the flat file is now: a machine may be moved to another
// datastore meanwhile, with its snapshots.
func (r *ranges) locate(ctx context.Context) error {
	p, err := datastorePath(flatName(r.x.file))
	if err != nil {
		return err
	}
	places, err := r.n.m.s.nearPlaces(ctx, r.n.m.c)
	if err != nil {
		return explain(err)
	}
	r.url = r.n.m.fileURL(p, places)
	return nil
}

// moved looks where the disk is after its file was not found.
func (r *ranges) moved(ctx context.Context) error {
	if err := r.n.m.look(ctx, "layoutEx", "runtime"); err != nil {
		return explain(err)
	}
	var held mo.VirtualMachineSnapshot
	err := property.DefaultCollector(r.n.m.c).RetrieveOne(ctx, r.n.node.Snapshot, []string{"config"}, &held)
	if err != nil {
		return fmt.Errorf("look at the snapshot again: %w", explain(err))
	}
	for _, x := range disksOf(held.Config.Hardware.Device) {
		if x.key == r.x.key && x.file != r.x.file {
			r.x.file, r.x.delta, r.x.flat = x.file, x.delta, x.flat
			if why := r.n.unflat(r.x); why != "" {
				return fmt.Errorf("%w; it was moved to %s, and %s", errMoved, x.file, why)
			}
			return r.locate(ctx)
		}
	}
	return fmt.Errorf("%w: %s", errMoved, flatName(r.x.file))
}

// stretches joins ranges, rounded out, into what is asked for at once.
func stretches(changed iter.Seq2[source.Range, error], size int64) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		var cur source.Range
		var named, gaps int64
		for r, err := range changed {
			if err != nil {
				yield(source.Range{}, err)
				return
			}
			from := max(r.Off/stretchGrain*stretchGrain, cur.Off+cur.Len)
			to := min((r.Off+r.Len+stretchGrain-1)/stretchGrain*stretchGrain, size)
			for from < to {
				n := min(to-from, stretchMax)
				gap := from - cur.Off - cur.Len
				named += n
				if cur.Len > 0 && cur.Len+gap+n <= stretchMax && gap <= gapMax && (gaps+gap)*gapShare <= named {
					cur.Len += gap + n
					gaps += gap
				} else {
					if cur.Len > 0 && !yield(cur, nil) {
						return
					}
					cur = source.Range{Off: from, Len: n}
				}
				from += n
			}
		}
		if cur.Len > 0 {
			yield(cur, nil)
		}
	}
}

// ReadAt reads on in the stretch, or asks for the next. What no stretch covers is
// asked for as it is.
func (r *ranges) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		err := r.read(ctx, p, off)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case tries > 0:
			return r.n.fail(r.x, fmt.Sprintf("read %d bytes at %d of its flat file", len(p), off), err)
		case errors.Is(err, errMoved):
			if err := r.moved(ctx); err != nil {
				return r.n.fail(r.x, "read its flat file", err)
			}
		}
		r.drop()
	}
}

func (r *ranges) read(ctx context.Context, p []byte, off int64) error {
	end := off + int64(len(p))
	if r.body == nil || off < r.at || end > r.end {
		if err := r.ask(ctx, off, end); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, r.cancel)
	defer stop()
	skipped, err := io.CopyN(io.Discard, r.body, off-r.at)
	r.at += skipped
	if err != nil {
		return goesOn(err)
	}
	n, err := io.ReadFull(r.body, p)
	r.at += int64(n)
	if r.at == r.end {
		r.drop()
	}
	return goesOn(err)
}

// goesOn: an end before what was promised is a cut.
func goesOn(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ask opens a request for [off, end), and for the rest of its stretch.
func (r *ranges) ask(ctx context.Context, off, end int64) error {
	r.drop()
	for r.stretch.Off+r.stretch.Len <= off {
		next, err, ok := r.plan()
		if err != nil {
			return err
		}
		if !ok {
			r.stretch = source.Range{Off: r.x.size, Len: 1}
			break
		}
		r.stretch = next
	}
	r.at, r.end = off, end
	if r.stretch.Off <= off {
		r.end = max(end, r.stretch.Off+r.stretch.Len)
	}
	// The answer outlives this call; each read lends it its context.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	body, err := r.n.m.s.getRange(life, r.url, r.at, r.end, r.x.size)
	if err != nil {
		cancel()
		return err
	}
	r.body, r.cancel = body, cancel
	return nil
}

// drop lets go of the answer. One that was read to its end gives its connection back.
func (r *ranges) drop() {
	if r.body == nil {
		return
	}
	if r.at == r.end {
		io.CopyN(io.Discard, r.body, 1) // to see its end
	}
	r.body.Close()
	r.cancel()
	r.body = nil
}

func (r *ranges) Close() error {
	r.stop()
	r.drop()
	return nil
}
