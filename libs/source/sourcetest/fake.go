package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Via is how a Fake's files are read, which it says once they are opened.
const Via = "memory"

// step is the unit of a Fake's change tracking, which is on nobody's grid.
const step = 3000

// Fake is a source in memory that can do all that a source may: snapshots that
// are frozen copies and must be removed, change tracking, and the weather of a
// real one. It passes the suite; so what works on it may work on a vCenter.
type Fake struct {
	// Tracks makes its disks know what changed.
	Tracks bool
	// WholeDisks makes it take disks in place only whole.
	WholeDisks bool
	// Slow is how long a call takes at most.
	Slow time.Duration

	mu       sync.Mutex
	fail     float64
	rnd      *rand.Rand
	machines map[string]map[string][]byte // files by key
	states   map[string]map[string][]byte // frozen files by snapshot id: kept for its change ids
	names    map[string][]string          // open snapshots: ids by name
	serial   int
	twice    []string
	returns  map[string]*fakeReturn // by the order's name
	finished int
	changed  int64
	streamed int64
}

// NewFake returns a Fake whose weather comes from seed.
func NewFake(seed uint64) *Fake {
	return &Fake{rnd: rand.New(rand.NewPCG(seed, 3)), machines: map[string]map[string][]byte{}, states: map[string]map[string][]byte{}, names: map[string][]string{}, returns: map[string]*fakeReturn{}}
}

// ErrWeather is what a Fake's bad weather says.
var ErrWeather = errors.New("weather")

// Weather makes a share of the calls fail. Half of those have done what they were
// asked, and only the answer is lost.
func (f *Fake) Weather(fail float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// Set gives a machine a file, a nil one takes it away.
func (f *Fake) Set(machine, key string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[machine]
	if m == nil {
		m = map[string][]byte{}
		f.machines[machine] = m
	}
	m[key] = bytes.Clone(b)
	if b == nil {
		delete(m, key)
	}
}

// Destroy removes a machine.
func (f *Fake) Destroy(machine string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.machines, machine)
}

// Snapshots lists the names of those that are open.
func (f *Fake) Snapshots() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.names))
}

// Twice lists the names that were prepared more than once.
func (f *Fake) Twice() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.twice)
}

// State returns the files of a snapshot, also when it is gone.
func (f *Fake) State(id string) map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[id]
}

// call is one call to the source: its time, and its luck. done is whether it is
// carried out, err what is said.
func (f *Fake) call(ctx context.Context) (done bool, err error) {
	f.mu.Lock()
	wait := time.Duration(f.rnd.Float64() * float64(f.Slow))
	bad, ghost := f.rnd.Float64() < f.fail, f.rnd.IntN(2) == 0
	f.mu.Unlock()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ghost, context.Cause(ctx)
		}
	}
	if bad {
		return ghost, ErrWeather
	}
	return true, nil
}

func (f *Fake) List(ctx context.Context) (*source.Inventory, error) {
	if _, err := f.call(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &source.Inventory{}
	for _, id := range slices.Sorted(maps.Keys(f.machines)) {
		m := source.Machine{ID: id, Name: id, Tracking: f.Tracks}
		for _, key := range slices.Sorted(maps.Keys(f.machines[id])) {
			m.Disks = append(m.Disks, source.Disk{Key: key, Size: int64(len(f.machines[id][key]))})
		}
		v.Machines = append(v.Machines, m)
	}
	return v, nil
}

func (f *Fake) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	done, err := f.call(ctx)
	if !done {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.machines[o.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %q: %w", o.Machine, source.ErrGone)
	}
	if len(m) == 0 {
		return nil, source.Permanent(fmt.Errorf("machine %q: nothing to back up", o.Machine))
	}
	if len(f.names[o.Name]) > 0 {
		f.twice = append(f.twice, o.Name)
	}
	f.serial++
	id := fmt.Sprint("state-", f.serial)
	frozen := map[string][]byte{}
	for key, b := range m {
		frozen[key] = bytes.Clone(b)
	}
	f.states[id], f.names[o.Name] = frozen, append(f.names[o.Name], id)
	if err != nil {
		return nil, err
	}
	return f.snapshot(o, id), nil
}

func (f *Fake) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	if _, err := f.call(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.names[o.Name], id) {
		return nil, fmt.Errorf("snapshot %s of id %s: %w", o.Name, id, source.ErrGone)
	}
	return f.snapshot(o, id), nil
}

// Marks lists the snapshots that are open; a Fake forgets whose and since when.
func (f *Fake) Marks(ctx context.Context) (all []source.Mark, err error) {
	if _, err := f.call(ctx); err != nil {
		return nil, err
	}
	for _, name := range f.Snapshots() {
		all = append(all, source.Mark{Name: name})
	}
	return all, nil
}

func (f *Fake) End(ctx context.Context, o source.Order) error {
	done, err := f.call(ctx)
	if done {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.names, o.Name)
	}
	return err
}

type fakeSnapshot struct {
	f     *Fake
	order source.Order
	id    string
	files []source.File
}

func (f *Fake) snapshot(o source.Order, id string) *fakeSnapshot {
	s := &fakeSnapshot{f: f, order: o, id: id}
	for _, key := range slices.Sorted(maps.Keys(f.states[id])) {
		file := source.File{Key: key, Name: key, Kind: schemas.FileExported_KIND_DISK, Size: int64(len(f.states[id][key]))}
		if f.Tracks {
			file.ChangeID = id
		}
		if !o.Excludes(file) {
			s.files = append(s.files, file)
		}
	}
	return s
}

func (s *fakeSnapshot) ID() string           { return s.id }
func (s *fakeSnapshot) Files() []source.File { return s.files }
func (s *fakeSnapshot) Warnings() []string   { return nil }
func (s *fakeSnapshot) Close() error         { return nil }

func (s *fakeSnapshot) Changed(ctx context.Context, file source.File, since string) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		now, before := s.f.State(s.id)[file.Key], []byte(nil)
		if since != "" {
			state := s.f.State(since)
			if state == nil || !s.f.Tracks {
				yield(source.Range{}, fmt.Errorf("change id %q: %w", since, source.ErrUntracked))
				return
			}
			before = state[file.Key]
		}
		if _, err := s.f.call(ctx); err != nil {
			yield(source.Range{}, err)
			return
		}
		for off := 0; off < len(now); off += step {
			a := now[off:min(off+step, len(now))]
			b := make([]byte, len(a))
			if off < len(before) {
				copy(b, before[off:])
			}
			if !bytes.Equal(a, b) && !yield(source.Range{Off: int64(off), Len: int64(len(a))}, nil) {
				return
			}
		}
	}
}

func (s *fakeSnapshot) Check(ctx context.Context) (source.Worth, error) {
	if _, err := s.f.call(ctx); err != nil {
		return source.Worth{}, err
	}
	return source.Worth{Level: schemas.Consistency_CONSISTENCY_CRASH}, nil
}

func (s *fakeSnapshot) Open(_ context.Context, file source.File, from int64) (source.Reader, error) {
	b, ok := s.f.State(s.id)[file.Key]
	if !ok {
		return nil, fmt.Errorf("file %q: %w", file.Key, source.ErrGone)
	}
	for i := range s.files {
		if s.files[i].Key == file.Key {
			s.files[i].Via = Via
		}
	}
	return &fakeReader{f: s.f, b: b, at: from}, nil
}

// fakeReader is a stream: it goes on only.
type fakeReader struct {
	f  *Fake
	b  []byte
	at int64
}

func (r *fakeReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if _, err := r.f.call(ctx); err != nil {
		return err
	}
	if off < r.at {
		return source.Permanent(fmt.Errorf("read at %d after %d: the stream is past it", off, r.at))
	}
	if off+int64(len(p)) > int64(len(r.b)) {
		return fmt.Errorf("read %d bytes at %d of %d", len(p), off, len(r.b))
	}
	copy(p, r.b[off:])
	r.at = off + int64(len(p))
	return nil
}

func (r *fakeReader) Close() error { return nil }
