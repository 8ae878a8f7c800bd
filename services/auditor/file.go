package auditor

import (
	"cmp"
	"slices"

	"github.com/holdfast-backup/holdfast/schemas"
)

// pageRun is neighbouring pages of a file that the exporter treated alike.
type pageRun struct {
	first, count uint32
	what         schemas.PageRun_What
}

// file is what is known of a file of one attempt: what the exporter says of it,
// and what is filed. The first comes last.
type file struct {
	no     uint32
	shape  shape
	sized  bool                  // the shape is known, from a cut or from the exporter
	facts  *schemas.FileExported // of any part, without its runs; nil: none came
	parts  map[uint32][]pageRun
	filed  filed
	lied   uint64  // places that change tracking claimed unchanged, and are not
	closed numbers // extents all of whose pages are filed
}

func (f *file) shaped(s shape) *fault {
	if f.sized && f.shape != s && !(s.grid == 0 && f.shape.grid == 0) { // a stream's size is known at its end
		return faultf(codeShape, "file %d: %d bytes on a grid of %d, and before %d on %d", f.no, s.size, s.grid, f.shape.size, f.shape.grid)
	}
	if s.grid == 0 {
		s.size = max(s.size, f.shape.size)
	}
	f.sized, f.shape = true, s
	return nil
}

// exported takes a part of files.exported.
func (f *file) exported(e *schemas.FileExported) *fault {
	if err := f.shaped(shape{e.SizeBytes, e.GridBytes}); err != nil {
		return err
	}
	if f.facts != nil && f.facts.Parts != e.Parts {
		return faultf(codeShape, "file %d: in %d parts, and before in %d", f.no, e.Parts, f.facts.Parts)
	}
	if f.facts == nil {
		f.parts = map[uint32][]pageRun{}
		f.facts = &schemas.FileExported{File: e.File, Key: e.Key, Name: e.Name, Kind: e.Kind, SizeBytes: e.SizeBytes, GridBytes: e.GridBytes,
			ChangeId: e.ChangeId, Via: e.Via, HasBase: e.HasBase, BaseFile: e.BaseFile, Parts: e.Parts}
	}
	runs := make([]pageRun, len(e.Runs))
	for i, r := range e.Runs {
		runs[i] = pageRun{r.First, r.Count, r.What}
	}
	f.parts[e.Part] = runs
	return nil
}

// whole reports whether every part came.
func (f *file) whole() bool { return f.facts != nil && len(f.parts) == int(max(1, f.facts.Parts)) }

// runs are the page map, joined. They cover each page of the file once, or it is a fault.
func (f *file) runs() ([]pageRun, *fault) {
	var all []pageRun
	for _, p := range f.parts {
		all = append(all, p...)
	}
	slices.SortFunc(all, func(a, b pageRun) int { return cmp.Compare(a.first, b.first) })
	next := uint64(0)
	for _, r := range all {
		if uint64(r.first) != next || r.count == 0 {
			return nil, faultf(codeShape, "file %d: its page map has %d pages at page %d, due at %d", f.no, r.count, r.first, next)
		}
		next += uint64(r.count)
	}
	if s := (shape{f.facts.SizeBytes, f.facts.GridBytes}); next != s.pages() {
		return nil, faultf(codeShape, "file %d: its page map has %d pages, %d bytes are %d", f.no, next, s.size, s.pages())
	}
	return all, nil
}

// held reports whether every exported page of it is filed.
func (f *file) held() (bool, *fault) {
	runs, err := f.runs()
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if r.what == schemas.PageRun_WHAT_EXPORTED && !f.filed.covers(r.first, r.count) {
			return false, nil
		}
	}
	return true, nil
}
