package vcenter

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// GuestDisk is a disk as its guest has it: now, through all deltas.
type GuestDisk struct {
	v *VCenter
	m *machine
	d *disk
	n int
	e error
}

// Disk is the n-th disk of a machine, in the order of its keys. That there is
// none is told by its methods.
func (v *VCenter) Disk(id string, n int) GuestDisk {
	m, err := v.machine(id)
	if err != nil {
		return GuestDisk{e: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < 0 || n >= len(m.disks) {
		return GuestDisk{e: fmt.Errorf("machine %s has no disk %d", m.name(), n)}
	}
	return GuestDisk{v: v, m: m, d: m.disks[n], n: n}
}

// Size in bytes.
func (g GuestDisk) Size() int64 {
	if g.e != nil {
		return 0
	}
	return g.d.size()
}

// ReadAt reads what the guest would.
func (g GuestDisk) ReadAt(p []byte, off int64) (int, error) {
	if g.e != nil {
		return 0, g.e
	}
	g.d.mu.RLock()
	defer g.d.mu.RUnlock()
	n := max(0, min(int64(len(p)), g.d.top.size-off))
	if err := g.d.top.read(p[:n], off); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// WriteAt writes as the guest would, and changed block tracking sees it.
func (g GuestDisk) WriteAt(p []byte, off int64) (int, error) {
	if g.e != nil {
		return 0, g.e
	}
	g.m.stun.RLock()
	defer g.m.stun.RUnlock()
	g.d.mu.Lock()
	defer g.d.mu.Unlock()
	if off < 0 || off+int64(len(p)) > g.d.top.size {
		return 0, fmt.Errorf("write %d bytes at %d: the disk has %d", len(p), off, g.d.top.size)
	}
	if err := g.d.top.write(p, off, g.d.track.gen); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Grow makes the disk larger, as an operator does; not while snapshots stand.
func (g GuestDisk) Grow(size int64) error {
	if g.e != nil {
		return g.e
	}
	g.m.mu.Lock()
	if len(g.m.snaps) > 0 {
		g.m.mu.Unlock()
		return fmt.Errorf("disk %d of %s cannot grow while the machine has snapshots", g.n, g.m.name())
	}
	g.d.mu.Lock()
	less := size < g.d.top.size
	if !less {
		g.d.top.size = size
	}
	g.d.mu.Unlock()
	g.m.mu.Unlock()
	if less {
		return fmt.Errorf("disk %d of %s cannot shrink to %d bytes", g.n, g.m.name(), size)
	}
	vm, c := g.v.vm(g.m.ref), g.v.ctx()
	c.WithLock(vm, func() { g.v.show(c, g.m, vm) })
	return g.v.keep(g.m)
}

// Work is what a guest does that goes on writing.
type Work struct {
	Seed  uint64
	Every time.Duration // between two transactions; 20 ms
	Bytes int           // of each write; 4096
}

// Run lets a guest write to a disk until stop: transactions of two writes of the
// same bytes, one in each half of the disk. A snapshot that is quiesced never
// falls between the two; one that is not may.
func (g GuestDisk) Run(w Work) (stop func() error) {
	w.Every, w.Bytes = or(w.Every, 20*time.Millisecond), or(w.Bytes, 4096)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.work(ctx, w) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func (g GuestDisk) work(ctx context.Context, w Work) error {
	if g.e != nil {
		return g.e
	}
	rnd := rand.New(rand.NewPCG(w.Seed, uint64(g.n)))
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.v.stop:
			return nil
		case <-tick.C:
		}
		if err := g.transact(rnd, w.Bytes); err != nil {
			return err
		}
	}
}

func (g GuestDisk) transact(rnd *rand.Rand, n int) error {
	half := g.d.size() / 2
	if half < int64(n) {
		return fmt.Errorf("disk %d of %s is too small to work on", g.n, g.m.name())
	}
	off := rnd.Int64N(half/int64(n)) * int64(n)
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	g.m.calm.RLock()
	defer g.m.calm.RUnlock()
	if _, err := g.WriteAt(p, off); err != nil {
		return err
	}
	_, err := g.WriteAt(p, half+off)
	return err
}
