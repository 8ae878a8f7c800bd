// Package synthetic is a source of machines that are nowhere: what their disks hold
// is a function of machine, offset and version, so that thousands of them need no
// disk, each version can be had again for comparing, and a load can be repeated. It
// is a tool for load tests. What it gives is worth no backup.
//
// Machines are clones of a few images. Of a disk's size, used bytes are allocated,
// in runs of 1 MiB that are spread evenly; the rest is zero and told as such. Of
// what is allocated, a share is common to all clones of an image, the rest is each
// one's own. Each version writes to a share of it, in runs of 4 to 256 KiB at 4 KiB,
// of which some may be alike in all clones too, as on a day of updates. What changed
// between two versions is told exactly. All of it compresses about 2:1, and costs a
// small part of what zstd does (see BenchmarkBytes).
//
// The version is advanced from outside, by a file that is read at each Prepare.
package synthetic

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// MaxVersion bounds what finding the writes of a stretch costs: a hash a version,
// 4096 stretches a GiB.
const MaxVersion = 10_000

// Options of a source. Shares are from 0 to 1.
type Options struct {
	Machines   int
	Size, Used int64   // bytes of each machine's disk, and how many of them are allocated
	Images     int     // that they are clones of, in turn
	Common     float64 // share of what is allocated that all clones of an image have
	Change     float64 // share of what is allocated that each version writes
	Alike      float64 // share of those writes that all clones of an image have
	Seed       uint64
	Version    int    // where there is no file
	File       string // holds the version, in decimal digits; empty: there is none
}

// Source is such a source. It implements source.Source. It keeps no state: a
// snapshot is the name of a version, and nothing is ever left of one.
type Source struct {
	o Options

	mu       sync.Mutex
	machines map[string]*machine
}

// Open returns a source. It opens nothing.
func Open(o Options) *Source {
	s := &Source{o: o, machines: map[string]*machine{}}
	for no := range o.Machines {
		m := &machine{o: &s.o, no: uint64(no), name: fmt.Sprintf("synthetic-%05d", no)}
		m.disks = []disk{{m: m, key: "disk0", size: o.Size, used: o.Used}}
		s.machines[m.name] = m
	}
	return s
}

// machine is one of them. It never changes.
type machine struct {
	o     *Options
	no    uint64
	name  string
	disks []disk
}

// image is which one it is a clone of.
func (m *machine) image() uint64 { return m.no % uint64(max(1, m.o.Images)) }

// shape names all that decides what its disks hold but the version.
func (m *machine) shape() string {
	h := mix(m.o.Seed, m.no, m.image(), uint64(m.o.Common*1e9), uint64(m.o.Change*1e9), uint64(m.o.Alike*1e9))
	for _, d := range m.disks {
		h = mix(h, d.no, uint64(d.size), uint64(d.used))
	}
	return fmt.Sprintf("%016x", h)
}

func (s *Source) List(ctx context.Context) (*source.Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &source.Inventory{Findings: []string{"a synthetic source: its machines are made up, for load tests"}}
	for _, m := range s.machines {
		image := fmt.Sprint("image-", m.image())
		one := source.Machine{ID: m.name, Name: m.name, Folder: image, Tags: []string{image}, Tracking: true}
		for _, d := range m.disks {
			one.Disks = append(one.Disks, source.Disk{Key: d.key, Size: d.size})
		}
		v.Machines = append(v.Machines, one)
	}
	slices.SortFunc(v.Machines, func(a, b source.Machine) int { return strings.Compare(a.ID, b.ID) })
	return v, ctx.Err()
}

// Prepare names the version that there is now.
func (s *Source) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	v, err := s.version()
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", o.Machine, err)
	}
	return s.snapshot(ctx, o, v)
}

// Resume finds any version of a machine that has not become another.
func (s *Source) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	shape, text, _ := strings.Cut(id, "-")
	v, err := strconv.Atoi(text)
	if err != nil || v < 0 || v > MaxVersion {
		return nil, fmt.Errorf("machine %q: snapshot %q: %w", o.Machine, id, source.ErrGone)
	}
	snap, err := s.snapshot(ctx, o, v)
	if err == nil && snap.shape != shape {
		return nil, fmt.Errorf("machine %q: snapshot %q: it is another machine now: %w", o.Machine, id, source.ErrGone)
	}
	return snap, err
}

// End has nothing to end.
func (s *Source) End(ctx context.Context, _ source.Order) error { return ctx.Err() }

func (s *Source) snapshot(ctx context.Context, o source.Order, version int) (*snapshot, error) {
	s.mu.Lock()
	m := s.machines[o.Machine]
	s.mu.Unlock()
	if m == nil {
		return nil, fmt.Errorf("machine %q: %w", o.Machine, source.ErrGone)
	}
	n := &snapshot{m: m, shape: m.shape(), version: version}
	for _, d := range m.disks {
		f := source.File{Key: d.key, Name: d.key, Kind: schemas.FileExported_KIND_DISK, Size: d.size, ChangeID: n.ID()}
		if !o.Excludes(f) {
			n.files = append(n.files, f)
		}
	}
	if len(n.files) == 0 {
		return nil, source.Permanent(fmt.Errorf("machine %q: nothing to back up: all of its disks are excluded", o.Machine))
	}
	return n, ctx.Err()
}

// version is what the file says, or what was set where there is none.
func (s *Source) version() (int, error) {
	if s.o.File == "" {
		return s.o.Version, nil
	}
	b, err := os.ReadFile(s.o.File)
	if err != nil {
		return 0, fmt.Errorf("which version it has: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || v < 0 || v > MaxVersion {
		return 0, fmt.Errorf("which version it has: %s says %.20q: want a number from 0 to %d", s.o.File, b, MaxVersion)
	}
	return v, nil
}
