package auditor

import (
	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// streamExtent is how much of a stream lies in one extent, which is one page; only
// the last is shorter. So a page's number tells where it begins.
const streamExtent = 4 << 20

// shape is the size of a file and the grid it is cut on; 0: by its content.
type shape struct {
	size uint64
	grid uint32
}

func shapeOf(e *schemas.ExtentCut) shape { return shape{e.FileBytes, e.GridBytes} }

// length is how many bytes of the file lie in a place of the grid; 0: none.
func (s shape) length(place uint64) uint64 {
	if place > s.size/uint64(s.grid) {
		return 0
	}
	return min(uint64(s.grid), s.size-place*uint64(s.grid))
}

// places is how many places a page of the grid has.
func (s shape) places(page uint32) int {
	first := uint64(page) * cut.PagePlaces * uint64(s.grid)
	if first >= s.size {
		return 0
	}
	return int(min(cut.PagePlaces, (s.size-first+uint64(s.grid)-1)/uint64(s.grid)))
}

// pages is how many pages the file has.
func (s shape) pages() uint64 {
	page := uint64(cut.PagePlaces) * uint64(s.grid)
	if s.grid == 0 {
		page = streamExtent
	}
	return s.size/page + min(s.size%page, 1)
}

// bytes is how many bytes of the file lie in pages [first, first+count).
func (s shape) bytes(first, count uint32) uint64 {
	page := uint64(cut.PagePlaces) * uint64(s.grid)
	if s.grid == 0 {
		page = streamExtent
	}
	from, to := uint64(first)*page, (uint64(first)+uint64(count))*page
	return min(to, s.size) - min(from, s.size)
}

// start is the byte at which a page begins.
func (s shape) start(page uint32) uint64 {
	if s.grid == 0 {
		return uint64(page) * streamExtent
	}
	return uint64(page) * cut.PagePlaces * uint64(s.grid)
}

// mask has a bit for each of the first n places of a page.
func mask(n int) uint64 {
	if n >= cut.PagePlaces {
		return ^uint64(0)
	}
	return 1<<n - 1
}
