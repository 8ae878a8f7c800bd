package exporter

import (
	"context"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
	"github.com/holdfast-backup/holdfast/schemas"
)

// pageReader reads pages of one file and says what each of their places is.
type pageReader struct {
	shape
	r       source.Reader
	digests bool            // whether to log them: the source tracks nothing
	base    *pagelog.Cursor // nil: nothing is known of what the places held
	cut.Digester
	sums []byte // reused by each page
}

// page is a page that was read. The bytes of its data places lie where read put
// them, in order.
type page struct {
	no         uint32
	what       schemas.PageRun_What
	data, zero uint64
	claimed    uint64 // of data and zero
	bytes      int
	sums       []byte           // digests of the data places
	digests    *pagelog.Digests // nil if the source tracks changes
}

// read reads the wanted places of a page into buf, which has room for a page, and
// moves those that must be exported to its front.
func (p *pageReader) read(ctx context.Context, w want, buf []byte) (page, error) {
	out := page{no: w.no, claimed: w.claimed, sums: p.sums[:0]}
	if p.digests {
		out.digests = new(pagelog.Digests)
	}
	var before *pagelog.Digests
	if p.base != nil {
		before = p.base.Page(w.no)
	}
	for run := range p.runs(w) {
		b := buf[out.bytes : out.bytes+int(run.Len)]
		if err := p.r.ReadAt(ctx, b, run.Off); err != nil {
			return page{}, err
		}
		place := int(run.Off/p.grid) % cut.PagePlaces
		for len(b) > 0 {
			n := min(int(p.grid), len(b))
			p.judge(&out, place, b[:n], before, buf)
			b = b[n:]
			place++
		}
	}
	rest := p.whole(w.no) &^ w.bits
	if p.tracked {
		rest &^= p.kept(w.no)
	}
	out.zero |= rest
	out.what, p.sums = p.what(&out, before), out.sums
	return out, nil
}

// judge says what one place is, and keeps its bytes if they must go.
func (p *pageReader) judge(out *page, place int, b []byte, before *pagelog.Digests, buf []byte) {
	bit := uint64(1) << place
	if cut.Zero(b) {
		out.zero |= bit
		return
	}
	sum := p.Digest(b)
	if out.digests != nil {
		d := pagelog.Digest(sum[:16])
		out.digests[place] = d
		if before != nil && p.kept(out.no)&bit != 0 && before[place] == d {
			return
		}
	}
	out.data |= bit
	out.sums = append(out.sums, sum[:]...)
	if at := buf[out.bytes:]; &at[0] != &b[0] {
		copy(at, b)
	}
	out.bytes += len(b)
}

// what says where the page comes from. A page is inherited only as a whole: all
// of its places are what the base's were, zeros too.
func (p *pageReader) what(out *page, before *pagelog.Digests) schemas.PageRun_What {
	whole := p.whole(out.no)
	switch {
	case out.claimed != 0: // whatever it is, the auditor compares it
		return schemas.PageRun_WHAT_EXPORTED
	case out.zero == whole:
		return schemas.PageRun_WHAT_ZERO
	case out.data != 0 || p.kept(out.no) != whole:
		return schemas.PageRun_WHAT_EXPORTED
	case p.tracked && out.zero == 0:
		return schemas.PageRun_WHAT_INHERITED
	case before == nil:
		return schemas.PageRun_WHAT_EXPORTED
	}
	for i := range before {
		if out.zero&(1<<i) != 0 && before[i] != (pagelog.Digest{}) {
			return schemas.PageRun_WHAT_EXPORTED
		}
	}
	return schemas.PageRun_WHAT_INHERITED
}

// nothing reports whether the log can do without the page: it is what a page
// that nobody named would be.
func (p *pageReader) nothing(out *page) bool {
	if p.quiet(out.no) {
		return out.what == schemas.PageRun_WHAT_INHERITED
	}
	return out.what == schemas.PageRun_WHAT_ZERO
}
