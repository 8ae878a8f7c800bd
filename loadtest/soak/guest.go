package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// sector is the unit of what a guest writes.
const sector = 4 << 10

// guest writes to the disks of one machine, one write after another. Its w-th
// write is a function of seed and w alone, and begins with a sector that says so:
// the disks of any moment show how many writes were done, and what each sector of
// all of them must hold then. A snapshot taken between two writes is one version;
// disks that hold another mixture are no version at all.
type guest struct {
	seed  uint64
	disks int
	size  int64        // of each
	done  atomic.Int64 // writes
}

// write is one contiguous write.
type write struct {
	no, disk int
	at, n    int // sectors
	kind     kind
}

type kind int

const (
	own    kind = iota
	common      // what any machine may have at this place
	zeros       // but for the first sector
)

const (
	stride    = 256    // sectors between the writes that fill a new disk: a MiB
	filled    = 3      // of four parts of it
	mostOnce  = 48     // sectors of a later write
	aligned   = 16     // sectors of a place of the vault's grid
	variants  = 3      // of what machines have in common
	alike     = 0xa1ce // the seed of that
	headBytes = 32
)

// first is how many writes fill the disks of a new machine.
func (g *guest) first() int { return g.disks * g.sectors() / stride }

func (g *guest) sectors() int { return int(g.size / sector) }

// plan is the w-th write, from 1.
func (g *guest) plan(w int) write {
	rng := rand.New(rand.NewPCG(g.seed, uint64(w)))
	p := write{no: w}
	if w <= g.first() {
		per := g.sectors() / stride
		p.disk, p.at, p.n = (w-1)/per, (w-1)%per*stride, stride*filled/4
		if w%3 == 1 {
			p.kind = common
		}
		return p
	}
	p.disk = rng.IntN(g.disks)
	p.n = 1 + rng.IntN(mostOnce)
	p.at = rng.IntN(g.sectors() - p.n)
	switch r := rng.IntN(10); {
	case r == 0:
		p.kind = zeros
	case r < 4 && p.at > aligned:
		p.kind, p.at = common, p.at/aligned*aligned-1 // so that whole places are alike
	}
	return p
}

// bytes are those of a sector of a write, 0 its first.
func (g *guest) bytes(b []byte, p write, i int) {
	switch {
	case i == 0:
		fill(b, g.seed^uint64(p.no)<<20)
		copy(b, "holdfast soak\n\x00\x00")
		binary.BigEndian.PutUint64(b[16:], g.seed)
		binary.BigEndian.PutUint64(b[24:], uint64(p.no))
	case p.kind == zeros:
		clear(b)
	case p.kind == common:
		fill(b, alike^uint64(p.no%variants)<<60^uint64(p.disk)<<50^uint64(p.at+i)<<8)
	default:
		fill(b, g.seed^uint64(p.no)<<20^uint64(i)<<8)
	}
}

// fill is noise that compresses to half.
func fill(b []byte, seed uint64) {
	for i := 0; i+16 <= len(b); i += 16 {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(b[i:], z^z>>31)
		clear(b[i+8 : i+16])
	}
}

// whole are all bytes of a write.
func (g *guest) whole(p write) []byte {
	b := make([]byte, p.n*sector)
	for i := range p.n {
		g.bytes(b[i*sector:(i+1)*sector], p, i)
	}
	return b
}

// version is how many writes the disks show, by the newest that began in them.
func (g *guest) version(disks [][]byte) (n int) {
	for _, d := range disks {
		for off := 0; off+sector <= len(d); off += sector {
			if string(d[off:off+13]) == "holdfast soak" && binary.BigEndian.Uint64(d[off+16:]) == g.seed {
				n = max(n, int(binary.BigEndian.Uint64(d[off+24:])))
			}
		}
	}
	return n
}

// check says how disks are not what they were at one moment from the lo-th to the
// hi-th write.
func (g *guest) check(disks [][]byte, lo, hi int) error {
	if len(disks) != g.disks {
		return fmt.Errorf("%d disks, the machine has %d", len(disks), g.disks)
	}
	for i, d := range disks {
		if int64(len(d)) != g.size {
			return fmt.Errorf("disk %d has %d bytes, the machine's has %d", i, len(d), g.size)
		}
	}
	n := g.version(disks)
	if n < lo || n > hi {
		return fmt.Errorf("it holds version %d, and must hold one from %d to %d", n, lo, hi)
	}
	return g.same(disks, n)
}

// same says which sector is not as the n-th write left it.
func (g *guest) same(disks [][]byte, n int) error {
	last := make([][]int32, g.disks)
	for i := range last {
		last[i] = make([]int32, g.sectors())
	}
	plans := make([]write, n+1)
	for w := 1; w <= n; w++ {
		p := g.plan(w)
		plans[w] = p
		for i := range p.n {
			last[p.disk][p.at+i] = int32(w)
		}
	}
	want := make([]byte, sector)
	for i, d := range disks {
		for s, w := range last[i] {
			if w == 0 {
				clear(want)
			} else {
				g.bytes(want, plans[w], s-plans[w].at)
			}
			if got := d[s*sector : (s+1)*sector]; string(got) != string(want) {
				return fmt.Errorf("it holds version %d, and sector %d of disk %d is not what write %d left there", n, s, i, w)
			}
		}
	}
	return nil
}
