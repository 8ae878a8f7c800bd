package auditor

import (
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// extentID names an extent within an attempt.
type extentID struct {
	file uint32
	no   uint64
}

// releaser is a held record, as its extent sees it.
type releaser interface{ Release(events ...topics.Event) }

// extent is an extent whose pages are not all filed. Its records are held until
// they are: an extent has all changed places of each of its pages, so it is the
// smallest thing whose records need nothing from others.
type extent struct {
	id      extentID
	cut     bool // its extents.cut is here: every page it has is in pages, or filed
	shape   shape
	base    uint32 // file of the base point
	based   bool
	pages   map[uint32]*page // open ones; before the cut, those that were answered
	holds   []releaser
	landing int               // map packs with pages of it that are being made rows
	lands   []<-chan struct{} // stragglers of map packs with pages of it: till then its records may be needed
}

func (e *extent) page(no uint32) *page {
	p := e.pages[no]
	if p == nil {
		p = &page{ext: e, no: no}
		e.pages[no] = p
	}
	return p
}

// expect takes extents.cut. filed tells which pages need nothing more.
func (e *extent) expect(c *schemas.ExtentCut, filed func(page uint32) bool) *fault {
	s := shapeOf(c)
	if e.cut && (e.shape != s || e.based != c.HasBase || e.base != c.BaseFile) {
		return faultf(codeShape, "file %d, extent %d: cut twice, and not alike", e.id.file, e.id.no)
	}
	e.cut, e.shape, e.based, e.base = true, s, c.HasBase, c.BaseFile
	cut := make(map[uint32]bool, len(c.Pages))
	for _, p := range c.Pages {
		cut[p.No] = true
		if filed(p.No) {
			continue
		}
		if f := e.page(p.No).expect(p, s); f != nil {
			return f
		}
		if e.pages[p.No].inherit|e.pages[p.No].claimed != 0 && !c.HasBase {
			return faultf(codeBase, "file %d, page %d leans on a base, but the file has no base", e.id.file, p.No)
		}
	}
	for no := range e.pages {
		if !cut[no] {
			return faultf(codeShape, "file %d, extent %d: an answer for page %d, which is not of it", e.id.file, e.id.no, no)
		}
	}
	return nil
}

// blank reports whether every page of an extent is all zero, and nothing is to be
// compared with the base.
func blank(c *schemas.ExtentCut) bool {
	for _, p := range c.Pages {
		if p.Data != 0 || p.Claimed != 0 || c.GridBytes == 0 || p.Zero != mask(shapeOf(c).places(p.No)) {
			return false
		}
	}
	return true
}
