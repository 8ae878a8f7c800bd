package exporter

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// spanPages bounds how far apart the pages of an extent may lie, and so how
	// many it names: 4096 of 20 B are a record of 80 KiB.
	spanPages = 4096
	// cursorBytes read, or cursorExtents written, are what a crash costs at most: a
	// second or two of reading again.
	cursorBytes   = 1 << 30
	cursorExtents = 16
	// partRuns of at most 16 B each keep a part of files.exported below 512 KiB.
	partRuns = 30000
)

// sink is where what was read goes. Each call may wait.
type sink interface {
	// extent takes an extent and its bytes, which it does not keep.
	extent(ctx context.Context, e *schemas.ExtentExported, blob []byte) error
	// file takes a part of a file's fact.
	file(ctx context.Context, f *schemas.FileExported) error
	// reached is called where the reading could be taken up again.
	reached(ctx context.Context, c *schemas.Cursor) error
}

// reading reads the files of one snapshot. The same snapshot, base and cursor
// give the same extents, with the same numbers.
type reading struct {
	run    *schemas.Run
	source string
	snap   source.Snapshot
	grid   int64
	base   map[string]*schemas.BaseFile // by key; nil: none
	digest *pagelog.Log                 // of the base's lease; nil: none
	// digestless says why digest is nil although there is a base.
	digestless string
	check      string // why all is read, and change tracking compared with it; empty: it is not
	log        *pagelog.Writer
	from       *schemas.Cursor // nil: from the beginning
	sink       sink
	now        func() time.Time
	limits
	pace  *pace  // nil: none is kept
	pulse *pulse // nil: with no pace
	// handOn is called between extents with what the next one begins with, which lies
	// in buf and must lie in front of it then. nil: the turn is never handed on.
	handOn func(ctx context.Context, r *reading, keep []byte) error

	buf        []byte   // an extent and a page
	digests    [32]byte // the key
	digester   cut.Digester
	inherits   bool   // some file has a base
	fullReason string // the first reason why a file of the base was read in full
}

// bufBytes is what a reading needs: an extent, and a page that may not fit in it.
func bufBytes(extent int, grid int64) int64 { return int64(extent) + grid*cut.PagePlaces }

// all reads every file, beginning at the cursor.
func (r *reading) all(ctx context.Context) error {
	r.digester = cut.NewDigester(r.digests)
	for i, f := range r.snap.Files() {
		if uint32(i) < r.from.GetFile() {
			r.plan(f) // for what it says of the base
			continue
		}
		x := &fileReading{reading: r, no: uint32(i), f: f}
		if r.from != nil && x.no == r.from.File {
			x.at, x.next = uint32(r.from.NextPlace/cut.PagePlaces), r.from.Extent
		}
		if err := x.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plan says how a file lies on its base, and which that is.
func (r *reading) plan(f source.File) (shape, *schemas.BaseFile, *pagelog.Cursor) {
	s := shape{size: f.Size, grid: r.grid, tracked: f.ChangeID != ""}
	b := r.base[f.Key]
	if b == nil {
		s.tracked = false
		return s, nil, nil
	}
	why := ""
	switch {
	case int64(b.GridBytes) != r.grid:
		why = fmt.Sprintf("the base has %q on a grid of %d bytes", f.Key, b.GridBytes)
	case s.tracked && b.ChangeId == "":
		why = fmt.Sprintf("the base has no change id of %q", f.Key)
	case s.tracked:
		r.inherits = true
		return s.under(int64(b.SizeBytes)), b, nil
	case r.digest == nil:
		why = "what the base held is not known: " + r.digestless
	default:
		c, ok := r.digest.File(f.Key)
		if ok && c.Size == int64(b.SizeBytes) && int64(c.Grid) == r.grid {
			r.inherits = true
			return s.under(c.Size), b, c
		}
		why = fmt.Sprintf("nothing is known of what %q held in the base", f.Key)
	}
	if r.fullReason == "" {
		r.fullReason = why
	}
	s.tracked = false
	return s, nil, nil
}
