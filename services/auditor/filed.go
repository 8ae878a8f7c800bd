package auditor

import (
	"iter"
	"slices"
	"sort"
)

// span is neighbouring pages of a file in neighbouring slots of one map pack.
// 16 bytes: a disk of 2 TiB on a 64 KiB grid whose every page is a span of its
// own takes 8 MiB.
type span struct {
	first, count uint32
	pack         uint32 // number among the attempt's map packs, from 1; 0: all zero
	slot         uint32 // of first
}

func (s span) end() uint32 { return s.first + s.count }

// clip is the part of s that lies in pages [first, end).
func (s span) clip(first, end uint32) span {
	if s.first < first {
		if s.pack != 0 {
			s.slot += first - s.first
		}
		s.count -= first - s.first
		s.first = first
	}
	s.count = min(s.count, end-s.first)
	return s
}

// follows reports whether t goes on where s ends.
func (s span) follows(t span) bool {
	return s.end() == t.first && s.pack == t.pack && (s.pack == 0 || s.slot+s.count == t.slot)
}

// filed is which pages of a file are durable, and where: spans in order, none
// touching another.
type filed struct {
	spans []span
	pages uint64
}

// find returns the number of the first span that ends behind page.
func (f *filed) find(page uint32) int {
	return sort.Search(len(f.spans), func(i int) bool { return f.spans[i].end() > page })
}

func (f *filed) has(page uint32) bool {
	i := f.find(page)
	return i < len(f.spans) && f.spans[i].first <= page
}

// within yields what is filed of pages [first, first+count), in order.
func (f *filed) within(first, count uint32) iter.Seq[span] {
	return func(yield func(span) bool) {
		end := first + count
		for i := f.find(first); i < len(f.spans) && f.spans[i].first < end; i++ {
			if !yield(f.spans[i].clip(first, end)) {
				return
			}
		}
	}
}

// covers reports whether all of pages [first, first+count) are filed.
func (f *filed) covers(first, count uint32) bool {
	for s := range f.within(first, count) {
		count -= s.count
	}
	return count == 0
}

// add files the pages of s that are not filed yet and returns how many. A page
// that is filed stays where it is: both places are durable.
func (f *filed) add(s span) (added uint32) {
	next := s.first
	var gaps []span
	for have := range f.within(s.first, s.count) {
		if have.first > next {
			gaps = append(gaps, s.clip(next, have.first))
		}
		next = have.end()
	}
	if next < s.end() {
		gaps = append(gaps, s.clip(next, s.end()))
	}
	for _, g := range gaps {
		f.insert(g)
		added += g.count
	}
	return added
}

func (f *filed) insert(s span) {
	f.pages += uint64(s.count)
	i := f.find(s.first)
	if i > 0 && f.spans[i-1].follows(s) {
		f.spans[i-1].count += s.count
		if i < len(f.spans) && f.spans[i-1].follows(f.spans[i]) {
			f.spans[i-1].count += f.spans[i].count
			f.spans = slices.Delete(f.spans, i, i+1)
		}
		return
	}
	if i < len(f.spans) && s.follows(f.spans[i]) {
		f.spans[i].first, f.spans[i].slot, f.spans[i].count = s.first, s.slot, f.spans[i].count+s.count
		return
	}
	f.spans = slices.Insert(f.spans, i, s)
}

// numbers is a set of numbers that come nearly in order, kept as ranges.
type numbers struct{ ranges [][2]uint64 }

func (n *numbers) find(v uint64) int {
	return sort.Search(len(n.ranges), func(i int) bool { return n.ranges[i][1] >= v })
}

func (n *numbers) has(v uint64) bool {
	i := n.find(v)
	return i < len(n.ranges) && n.ranges[i][0] <= v
}

func (n *numbers) add(v uint64) {
	i := n.find(v)
	if i < len(n.ranges) && n.ranges[i][0] <= v {
		return
	}
	before := i > 0 && n.ranges[i-1][1]+1 == v
	after := i < len(n.ranges) && n.ranges[i][0] == v+1
	switch {
	case before && after:
		n.ranges[i-1][1] = n.ranges[i][1]
		n.ranges = slices.Delete(n.ranges, i, i+1)
	case before:
		n.ranges[i-1][1] = v
	case after:
		n.ranges[i][0] = v
	default:
		n.ranges = slices.Insert(n.ranges, i, [2]uint64{v, v})
	}
}
