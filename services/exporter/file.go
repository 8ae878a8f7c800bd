package exporter

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
)

// fileReading reads one file into extents.
type fileReading struct {
	*reading
	no uint32
	f  source.File
	at uint32 // the page to begin with

	base *schemas.BaseFile // nil: none
	p    *pageReader

	next  uint64                // the next extent's number
	pages []*schemas.ExtentPage // of the open extent
	fill  int                   // its bytes
	sums  []byte                // digests of its data places
	busy  time.Duration         // spent in reading it
	since int64                 // bytes read since the cursor was last offered
}

func (x *fileReading) read(ctx context.Context) error {
	s, b, c := x.plan(x.f)
	wants, err := x.wanted(ctx, &s)
	if err != nil {
		return err
	}
	if s.keep > 0 {
		x.base = b
	}
	if !x.log.Began(x.f.Key) {
		if err := x.log.File(x.f.Key, x.f.Size, uint32(x.grid)); err != nil {
			return err
		}
	}
	r, err := x.snap.Open(ctx, x.f, min(s.first(x.at), x.f.Size))
	if err != nil {
		return err
	}
	defer r.Close()
	x.f.Via = x.snap.Files()[x.no].Via // settled by now
	x.p = &pageReader{shape: s, r: x.pace.reader(r, x.f.Store, x.pulse), digests: x.f.ChangeID == "", base: c, Digester: x.digester}
	for w, err := range wants {
		if err != nil {
			return err
		}
		if err := x.page(ctx, w); err != nil {
			return err
		}
	}
	if err := x.flush(ctx, s.pages()); err != nil {
		return err
	}
	return x.tell(ctx)
}

// wanted is what to read of each page. All of it where change tracking is compared
// with a full read.
func (x *fileReading) wanted(ctx context.Context, s *shape) (iter.Seq2[want, error], error) {
	ranges, err := x.ranges(ctx, s)
	if err != nil || !s.tracked || x.check == "" {
		return s.wants(ranges, x.at), err
	}
	if x.fullReason == "" {
		x.fullReason = x.check
	}
	s.tracked = false // what is not read is zero, and nothing is inherited
	// Asked last is what all is: a source may choose its reader by it.
	return s.compared(x.snap.Changed(ctx, x.f, ""), ranges, x.at), nil
}

// ranges asks the source what to read. One that forgot what it tracked is read in full.
func (x *fileReading) ranges(ctx context.Context, s *shape) (iter.Seq2[source.Range, error], error) {
	if !s.tracked {
		return x.snap.Changed(ctx, x.f, ""), nil
	}
	since := x.reading.base[x.f.Key].ChangeId
	for _, err := range x.snap.Changed(ctx, x.f, since) {
		if errors.Is(err, source.ErrUntracked) {
			if x.fullReason == "" {
				x.fullReason = err.Error()
			}
			s.tracked, s.keep = false, 0
			return x.snap.Changed(ctx, x.f, ""), nil
		}
		if err != nil {
			return nil, err
		}
		break
	}
	return x.snap.Changed(ctx, x.f, since), nil
}

// page reads one page and adds it to the open extent. The extent is closed before
// a page that does not fit, so that each page lies in one.
func (x *fileReading) page(ctx context.Context, w want) error {
	if len(x.pages) > 0 && w.no-x.pages[0].No >= spanPages {
		if err := x.flush(ctx, w.no); err != nil {
			return err
		}
	}
	if x.since >= x.cursorBytes && len(x.pages) == 0 {
		if err := x.reached(ctx, w.no); err != nil {
			return err
		}
	}
	if len(x.pages) == 0 {
		if err := x.between(ctx, nil); err != nil {
			return err
		}
	}
	start, rested := x.now(), x.pulse.rested()
	p, err := x.p.read(ctx, w, x.buf[x.fill:x.fill+int(x.grid)*cut.PagePlaces])
	if err != nil {
		return err
	}
	x.busy += x.now().Sub(start) - (x.pulse.rested() - rested)
	for run := range x.p.runs(w) {
		x.since += run.Len
	}
	if p.what == schemas.PageRun_WHAT_EXPORTED {
		if x.fill+p.bytes > x.extentBytes {
			from := x.fill
			if err := x.flush(ctx, w.no); err != nil {
				return err
			}
			if err := x.between(ctx, x.buf[from:from+p.bytes]); err != nil {
				return err
			}
		}
		x.pages = append(x.pages, &schemas.ExtentPage{No: p.no, Data: p.data, Zero: p.zero, Claimed: p.claimed})
		x.fill += p.bytes
		x.sums = append(x.sums, p.sums...)
	}
	if x.p.nothing(&p) {
		return nil
	}
	return x.log.Page(pagelog.Page{No: p.no, What: p.what, Digests: p.digests})
}

// between is called where no extent is open; keep are the bytes of the next.
func (x *fileReading) between(ctx context.Context, keep []byte) error {
	if x.handOn == nil {
		copy(x.buf, keep)
		return nil
	}
	return x.handOn(ctx, x.reading, keep)
}

// flush closes the open extent. page is the first that is not in it and not logged.
func (x *fileReading) flush(ctx context.Context, page uint32) error {
	if len(x.pages) == 0 {
		return nil
	}
	e := &schemas.ExtentExported{Run: x.run, SnapshotId: x.snap.ID(), Source: x.source, File: x.no, FileBytes: uint64(x.f.Size),
		GridBytes: uint32(x.grid), HasBase: x.base != nil, BaseFile: x.base.GetNo(), Extent: x.next, Pages: x.pages,
		LengthBytes: uint32(x.fill), ReadUs: uint32(min(x.busy.Microseconds(), 1<<31))}
	blob := x.buf[:x.fill]
	e.Digests = bytes.Clone(x.sums)
	if err := x.sink.extent(ctx, e, blob); err != nil {
		return err
	}
	x.next++
	x.pages, x.fill, x.sums, x.busy = nil, 0, x.sums[:0], 0
	if x.since >= x.cursorBytes || x.next%x.cursorExtents == 0 {
		return x.reached(ctx, page)
	}
	return nil
}

func (x *fileReading) reached(ctx context.Context, page uint32) error {
	x.since = 0
	return x.sink.reached(ctx, &schemas.Cursor{File: x.no, NextPlace: uint64(page) * cut.PagePlaces, Extent: x.next})
}

// tell says where each page of the file comes from, in as many parts as it takes.
func (x *fileReading) tell(ctx context.Context) error {
	parts := uint32(1)
	n := 0
	for _, err := range x.told() {
		if err != nil {
			return err
		}
		if n++; n > partRuns {
			parts, n = parts+1, 1
		}
	}
	part := x.part(0, parts)
	for run, err := range x.told() {
		if err != nil {
			return err
		}
		if len(part.Runs) == partRuns {
			if err := x.sink.file(ctx, part); err != nil {
				return err
			}
			part = x.part(part.Part+1, parts)
		}
		part.Runs = append(part.Runs, run)
	}
	return x.sink.file(ctx, part)
}

func (x *fileReading) part(no, of uint32) *schemas.FileExported {
	return &schemas.FileExported{Run: x.run, File: x.no, Key: x.f.Key, Name: x.f.Name, Kind: x.f.Kind, SizeBytes: uint64(x.f.Size),
		GridBytes: uint32(x.grid), ChangeId: x.f.ChangeID, HasBase: x.base != nil, BaseFile: x.base.GetNo(), Part: no, Parts: of, Via: text(x.f.Via)}
}

// told yields the runs of the file's pages, from the log: it holds those that
// were read, before a crash too; the others are what nobody named.
func (x *fileReading) told() iter.Seq2[*schemas.PageRun, error] {
	return func(yield func(*schemas.PageRun, error) bool) {
		m := merger{yield: yield}
		at := uint32(0)
		s := x.p.shape
		for p, err := range x.log.Pages() {
			if err != nil {
				yield(nil, err)
				return
			}
			if !m.quiet(s, at, p.No) || !m.add(p.No, 1, p.What) {
				return
			}
			at = p.No + 1
		}
		if m.quiet(s, at, s.pages()) && m.cur != nil {
			yield(m.cur, nil)
		}
	}
}

// merger joins neighbouring runs of one outcome.
type merger struct {
	yield func(*schemas.PageRun, error) bool
	cur   *schemas.PageRun
}

func (m *merger) add(first, count uint32, what schemas.PageRun_What) bool {
	if m.cur != nil && m.cur.What == what {
		m.cur.Count += count
		return true
	}
	if m.cur != nil && !m.yield(m.cur, nil) {
		return false
	}
	m.cur = &schemas.PageRun{First: first, Count: count, What: what}
	return true
}

// quiet adds the pages [from, to), which nobody named: inherited as far as the
// base goes, zero behind it.
func (m *merger) quiet(s shape, from, to uint32) bool {
	border := to
	if from < to && !s.quiet(to-1) {
		border = uint32(max(int64(from), min(int64(to), s.keep/cut.PagePlaces)))
		if !s.tracked {
			border = from
		}
	}
	return (border == from || m.add(from, border-from, schemas.PageRun_WHAT_INHERITED)) &&
		(to == border || m.add(border, to-border, schemas.PageRun_WHAT_ZERO))
}
