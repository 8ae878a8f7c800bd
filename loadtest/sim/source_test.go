//go:build synctests

package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// unit is what a guest writes at once, and what change tracking counts in. It is
// not the vault's grid, but for the smallest.
const unit = 4 << 10

// disk is a file of a machine: the content number of each unit, 0 for zeros.
type disk struct {
	kind  schemas.FileExported_Kind
	size  int64
	units []uint64
}

func (d disk) clone() disk { d.units = slices.Clone(d.units); return d }

// readAt fills p with the bytes at off: each unit's are a function of its number.
func (d disk) readAt(p []byte, off int64) {
	var b [unit]byte
	for len(p) > 0 {
		fill(b[:], d.units[off/unit])
		n := copy(p, b[off%unit:])
		p, off = p[n:], off+int64(n)
	}
}

// fill makes the bytes of content number n: noise, the second half of every third
// number zero, so that some of it can be compressed.
func fill(b []byte, n uint64) {
	if clear(b); n == 0 {
		return
	}
	x := n
	if n%3 == 0 {
		b = b[:len(b)/2]
	}
	for i := 0; i+8 <= len(b); i += 8 {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		binary.LittleEndian.PutUint64(b[i:], z^z>>27)
	}
}

// state is a machine that stood still: kept for ever, to judge by.
type state struct {
	id, machine string
	order       string // its name
	files       map[string]disk
	at          time.Time
}

// site is a source as it really is: its machines, and the snapshots that are open.
type site struct {
	name   string
	tracks bool // it knows what changed
	limit  int  // of snapshots open at once

	mu       sync.Mutex
	rng      *rand.Rand
	machines map[string]map[string]disk
	states   map[string]*state
	open     map[string][]string // ids of open snapshots, by the order's name
	fail     float64             // the share of calls that fail; half of them were carried out
	slow     time.Duration
	down     bool
	calling  map[*process]bool // who makes a snapshot just now
}

func newSite(name string, seed uint64) *site {
	return &site{name: name, rng: rand.New(rand.NewPCG(seed, 3)), machines: map[string]map[string]disk{}, states: map[string]*state{}, open: map[string][]string{}, calling: map[*process]bool{}}
}

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// left names the snapshots that are open.
func (s *site) left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.open))
}

func (s *site) state(id string) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[id]
}

// desk is a site as one process reaches it.
type desk struct {
	*site
	p *process
}

var _ interface {
	source.Source
	source.Marked
} = desk{}

// call is one call: its time and its luck. done is whether it is carried out, err
// what is heard of it.
func (d desk) call(ctx context.Context, what string) (done bool, err error) {
	d.p.still()
	d.mu.Lock()
	wait := time.Duration(d.rng.Float64() * float64(d.slow))
	bad, ghost, down := d.rng.Float64() < d.fail, d.rng.IntN(2) == 0, d.down
	d.mu.Unlock()
	if d.p.isDead() || down {
		return false, fmt.Errorf("%s: source %s: %w", what, d.name, errWeather)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ghost, context.Cause(ctx)
		}
	}
	d.p.still()
	switch {
	case d.p.isDead():
		return ghost, errDead
	case bad:
		return ghost, fmt.Errorf("%s: source %s: %w", what, d.name, errWeather)
	}
	return true, nil
}

var (
	errWeather = errors.New("weather")
	errDead    = errors.New("the process is dead")
)

func (d desk) List(ctx context.Context) (*source.Inventory, error) {
	if _, err := d.call(ctx, "list"); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := &source.Inventory{}
	for _, id := range slices.Sorted(maps.Keys(d.machines)) {
		m := source.Machine{ID: id, Name: id, Tracking: d.tracks}
		for _, key := range slices.Sorted(maps.Keys(d.machines[id])) {
			if f := d.machines[id][key]; f.kind == schemas.FileExported_KIND_DISK {
				m.Disks = append(m.Disks, source.Disk{Key: key, Size: f.size})
			}
		}
		v.Machines = append(v.Machines, m)
	}
	return v, nil
}

func (d desk) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	d.set(func() { d.calling[d.p] = true })
	done, err := d.call(ctx, "prepare "+o.Name)
	d.set(func() { delete(d.calling, d.p) })
	if !done {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.machines[o.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %q: %w", o.Machine, source.ErrGone)
	}
	st := &state{id: fmt.Sprintf("%s-%d", d.name, len(d.states)+1), machine: o.Machine, order: o.Name, files: map[string]disk{}, at: time.Now()}
	for key, f := range m {
		st.files[key] = f.clone()
	}
	d.states[st.id] = st
	d.open[o.Name] = append(d.open[o.Name], st.id)
	if err != nil {
		return nil, err
	}
	return d.snapshot(st), nil
}

func (d desk) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	if _, err := d.call(ctx, "resume "+o.Name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.open[o.Name], id) {
		return nil, fmt.Errorf("snapshot %s of id %s: %w", o.Name, id, source.ErrGone)
	}
	return d.snapshot(d.states[id]), nil
}

func (d desk) End(ctx context.Context, o source.Order) error {
	done, err := d.call(ctx, "end "+o.Name)
	if done {
		d.set(func() { delete(d.open, o.Name) })
	}
	return err
}

func (d desk) Marks(ctx context.Context) (all []source.Mark, err error) {
	if _, err := d.call(ctx, "marks"); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, ids := range d.open {
		st := d.states[ids[0]]
		all = append(all, source.Mark{Name: name, Machine: st.machine, Since: st.at})
	}
	return all, nil
}
