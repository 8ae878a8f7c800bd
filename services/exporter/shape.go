package exporter

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/source"
)

// shape is how a file lies on the grid, and how its base lies below it.
type shape struct {
	size, grid int64
	// keep: places before it lie in the base too, with the same length, and so may
	// be inherited. Where the sizes differ, the last place that both have does not
	// count: the base's page ends there, or goes on.
	keep int64
	// tracked: the source says what changed, so what it does not name is inherited.
	tracked bool
}

// under sets a base of the given size below the shape.
func (s shape) under(base int64) shape {
	s.keep = s.places()
	if base != s.size {
		s.keep = min(min(base, s.size)/s.grid, s.places()-1)
	}
	return s
}

func (s shape) places() int64 { return (s.size + s.grid - 1) / s.grid }

func (s shape) pages() uint32 { return uint32((s.places() + cut.PagePlaces - 1) / cut.PagePlaces) }

// first is where a page begins in the file.
func (s shape) first(no uint32) int64 { return int64(no) * cut.PagePlaces * s.grid }

// upTo has a bit for each place of a page that lies before a place of the file.
func upTo(no uint32, place int64) uint64 {
	n := place - int64(no)*cut.PagePlaces
	switch {
	case n <= 0:
		return 0
	case n >= cut.PagePlaces:
		return ^uint64(0)
	}
	return 1<<n - 1
}

// whole has a bit for each place that a page has.
func (s shape) whole(no uint32) uint64 { return upTo(no, s.places()) }

// kept has a bit for each place of a page that may be inherited.
func (s shape) kept(no uint32) uint64 { return upTo(no, s.keep) }

// quiet reports whether a page that nobody named is inherited. Else it is zero.
func (s shape) quiet(no uint32) bool { return s.tracked && s.kept(no) == s.whole(no) }

// want is the places of one page that must be read.
type want struct {
	no      uint32
	bits    uint64
	claimed uint64 // of a checked page: what change tracking says is as in the base
}

// compared yields every page from one on: to be read is all that may differ from
// zero, and claimed what the changes don't name. A page of zeros, too: the base
// may have had data there.
func (s shape) compared(all, changes iter.Seq2[source.Range, error], from uint32) iter.Seq2[want, error] {
	return func(yield func(want, error) bool) {
		full, stopFull := iter.Pull2(s.wants(all, from))
		defer stopFull()
		named, stopNamed := iter.Pull2(s.wants(changes, from))
		defer stopNamed()
		f, ferr, fok := full()
		n, nerr, nok := named()
		for no := from; no < s.pages(); no++ {
			if err := errors.Join(ferr, nerr); err != nil {
				yield(want{}, err)
				return
			}
			w := want{no: no, claimed: s.kept(no)}
			if fok && f.no == no {
				w.bits = f.bits
				f, ferr, fok = full()
			}
			if nok && n.no == no {
				w.bits |= n.bits
				w.claimed &^= n.bits
				n, nerr, nok = named()
			}
			if w.bits|w.claimed != 0 && !yield(w, nil) {
				return
			}
		}
		if err := errors.Join(ferr, nerr); err != nil {
			yield(want{}, err)
		}
	}
}

// wants rounds ranges out to the grid and gathers them by page, from a page on.
func (s shape) wants(ranges iter.Seq2[source.Range, error], from uint32) iter.Seq2[want, error] {
	return func(yield func(want, error) bool) {
		cur := want{no: from}
		last := int64(-1)
		for r, err := range s.bordered(ranges) {
			if err == nil && (r.Off < last || r.Len <= 0) {
				err = fmt.Errorf("the source names range %d+%d after one at %d", r.Off, r.Len, last)
			}
			if err != nil {
				yield(want{}, err)
				return
			}
			last = r.Off
			place := max(r.Off/s.grid, int64(cur.no)*cut.PagePlaces)
			end := min((r.Off+r.Len+s.grid-1)/s.grid, s.places())
			for place < end {
				no := uint32(place / cut.PagePlaces)
				if no != cur.no {
					if cur.bits != 0 && !yield(cur, nil) {
						return
					}
					cur = want{no: no}
				}
				cur.bits |= upTo(no, end) &^ upTo(no, place)
				place = (int64(no) + 1) * cut.PagePlaces
			}
		}
		if cur.bits != 0 {
			yield(cur, nil)
		}
	}
}

// bordered adds, where a tracked file has another size than its base, the place
// at which they part: it has another length, or its page another number of
// places, so it must be read even if no byte of it changed.
func (s shape) bordered(ranges iter.Seq2[source.Range, error]) iter.Seq2[source.Range, error] {
	if !s.tracked || s.keep == s.places() || s.keep < 0 {
		return ranges
	}
	border := source.Range{Off: s.keep * s.grid, Len: 1}
	return func(yield func(source.Range, error) bool) {
		done := false
		for r, err := range ranges {
			if !done && err == nil && r.Off >= border.Off {
				if done = true; !yield(border, nil) {
					return
				}
			}
			if !yield(r, err) {
				return
			}
		}
		if !done {
			yield(border, nil)
		}
	}
}

// runs yields the stretches of neighbouring places in bits, as bytes of the file.
func (s shape) runs(w want) iter.Seq[source.Range] {
	return func(yield func(source.Range) bool) {
		for b := w.bits; b != 0; {
			from := bits.TrailingZeros64(b)
			n := bits.TrailingZeros64(^(b >> from))
			off := s.first(w.no) + int64(from)*s.grid
			if !yield(source.Range{Off: off, Len: min(int64(n)*s.grid, s.size-off)}) {
				return
			}
			if from+n >= cut.PagePlaces {
				return
			}
			b &^= 1<<(from+n) - 1
		}
	}
}
