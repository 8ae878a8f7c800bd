package synthetic

import (
	"iter"

	"github.com/holdfast-backup/holdfast/libs/source"
)

const (
	run     = 1 << 20   // what is allocated or not
	stretch = 256 << 10 // what is common or not, and has one write a version of each kind at most
	sector  = 4 << 10   // the unit of a write
)

// disk is one disk of a machine.
type disk struct {
	m          *machine
	no         uint64 // of the machine's disks
	key        string
	size, used int64
}

// runs are how many the disk has, and how many are allocated.
func (d disk) runs() (all, have int64) {
	all = (d.size + run - 1) / run
	return all, min(all, (d.used+run-1)/run)
}

// place is where the j-th allocated run begins: they are spread evenly.
func (d disk) place(j int64) int64 {
	all, have := d.runs()
	return j * all / have * run
}

// has says whether the run at off, a multiple of run, is allocated.
func (d disk) has(off int64) bool {
	all, have := d.runs()
	if have == 0 {
		return false
	}
	i := off / run
	j := (i*have + all - 1) / all // the first that may begin there
	return j < have && d.place(j) == off
}

// allocated yields the runs that are, those side by side as one.
func (d disk) allocated() iter.Seq[source.Range] {
	return merged(func(yield func(source.Range) bool) {
		_, have := d.runs()
		for j := range have {
			at := d.place(j)
			if !yield(source.Range{Off: at, Len: min(run, d.size-at)}) {
				return
			}
		}
	})
}

// written yields what the versions after a up to b wrote.
func (d disk) written(a, b int) iter.Seq[source.Range] {
	return merged(func(yield func(source.Range) bool) {
		_, have := d.runs()
		for j := range have {
			for at := d.place(j); at < d.place(j)+run && at < d.size; at += stretch {
				if !d.writtenIn(at, a, b, yield) {
					return
				}
			}
		}
	})
}

// writtenIn yields what was written of the stretch at a place, in ascending order.
func (d disk) writtenIn(at int64, a, b int, yield func(source.Range) bool) bool {
	var dirty [stretch / sector]bool
	any := false
	for v := a + 1; v <= b; v++ {
		for w := range d.writes(at, v) {
			any = true
			for s := w.from / sector; s < w.to/sector; s++ {
				dirty[s] = true
			}
		}
	}
	if !any {
		return true
	}
	for s, is := range dirty {
		off := at + int64(s)*sector
		if is && off < d.size && !yield(source.Range{Off: off, Len: min(sector, d.size-off)}) {
			return false
		}
	}
	return true
}

// merged joins ranges that touch.
func merged(all iter.Seq[source.Range]) iter.Seq[source.Range] {
	return func(yield func(source.Range) bool) {
		var last source.Range
		for r := range all {
			switch {
			case last.Len > 0 && last.Off+last.Len == r.Off:
				last.Len += r.Len
			case last.Len > 0 && !yield(last):
				return
			default:
				last = r
			}
		}
		if last.Len > 0 {
			yield(last)
		}
	}
}

// write is one to a stretch: sectors within it, and what it put there.
type write struct {
	from, to int64 // bytes within the stretch, whole sectors
	seed     uint64
}

// What a write has on average: 4 to 256 KiB, each length as likely.
const meanWrite = (stretch + sector) / 2

// writes yields those of a version to the stretch at a place: that of all clones
// first, and then the machine's own.
func (d disk) writes(at int64, version int) iter.Seq[write] {
	return func(yield func(write) bool) {
		o := d.m.o
		for _, k := range []struct {
			who   uint64
			share float64
		}{{mix(o.Seed, allClones, d.m.image()), o.Alike}, {mix(o.Seed, itsOwn, d.m.no), 1 - o.Alike}} {
			change := o.Change * k.share
			h := mix(k.who, aWrite, d.no, uint64(at), uint64(version))
			whole := change*stretch > meanWrite // more than writes of all lengths can make
			if whole && !luck(h, change) || !whole && !luck(h, change*stretch/meanWrite) {
				continue
			}
			w := write{0, stretch, mix(h, 1)}
			if !whole {
				n := 1 + int64(mix(h, 2)%(stretch/sector))
				w.from = int64(mix(h, 3)%uint64(stretch/sector-n+1)) * sector
				w.to = w.from + n*sector
			}
			if !yield(w) {
				return
			}
		}
	}
}

// read fills p with what the disk holds at off in a version.
func (d disk) read(p []byte, off int64, version int) {
	for len(p) > 0 {
		n := min(int64(len(p)), stretch-off%stretch)
		if at := off - off%stretch; d.has(off - off%run) {
			d.readIn(p[:n], at, off-at, version)
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+n
	}
}

// readIn reads a part of the stretch at a place, from an offset within it: what it
// was made with, and over it what was written since.
func (d disk) readIn(p []byte, at, from int64, version int) {
	o := d.m.o
	who := mix(o.Seed, itsOwn, d.m.no)
	if image := mix(o.Seed, allClones, d.m.image()); luck(mix(image, isCommon, d.no, uint64(at)), o.Common) {
		who = image
	}
	fill(p, from, mix(who, d.no, uint64(at)))
	to := from + int64(len(p))
	for v := 1; v <= version; v++ {
		for w := range d.writes(at, v) {
			if a, b := max(from, w.from), min(to, w.to); a < b {
				fill(p[a-from:b-from], a, w.seed)
			}
		}
	}
}
