package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// fakeReturn is what a Fake remembers of an order.
type fakeReturn struct {
	machine string // its id here
	name    string
	kept    bool
	copied  bool              // as the order said
	half    map[string][]byte // disks while it is half made; nil: it is whole
}

// Half lists the orders whose machines are half made.
func (f *Fake) Half() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, r := range f.returns {
		if r.half != nil {
			names = append(names, name)
		}
	}
	return names
}

// Disks are those of a machine, by key; nil: there is none.
func (f *Fake) Disks(machine string) map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[machine]
	if m == nil {
		return nil
	}
	all := map[string][]byte{}
	for key, b := range m {
		all[key] = bytes.Clone(b)
	}
	return all
}

// Machines counts machines, half-made ones too.
func (f *Fake) Machines() int { return len(f.Half()) + f.whole() }

func (f *Fake) whole() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.machines)
}

// Has reports whether there is a machine.
func (f *Fake) Has(ctx context.Context, machine string) (bool, error) {
	if _, err := f.call(ctx); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.machines[machine]
	return ok, nil
}

// Return makes a machine, half; a Fake's machines have their ids for names.
func (f *Fake) Return(ctx context.Context, o source.Return) (source.Returning, error) {
	done, err := f.call(ctx)
	if !done {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, there := f.machines[o.Machine]
	if o.InPlace {
		for _, file := range o.Files {
			if b, ok := m[file.Key]; !there || !ok || int64(len(b)) != file.Size {
				return nil, source.Refuse(fmt.Errorf("machine %q has no disk %q of %d bytes", o.Machine, file.Name, file.Size))
			}
		}
		if err != nil {
			return nil, err
		}
		return &fakeReturning{f: f, o: o}, nil
	}
	name, id := o.As, o.Machine
	if name == "" {
		name = o.Machine
	}
	if _, taken := f.machines[name]; taken {
		return nil, source.Refuse(fmt.Errorf("there is a machine %q already", name))
	}
	if there || o.Copy || name != o.Machine {
		id = name
	}
	if r := f.returns[o.Name]; r != nil {
		return nil, fmt.Errorf("machine %q is half made already", r.name) // its caller did not end it
	}
	f.returns[o.Name] = &fakeReturn{machine: id, name: name, kept: id == o.Machine, copied: o.Copy, half: map[string][]byte{}}
	if err != nil {
		return nil, err
	}
	return &fakeReturning{f: f, o: o}, nil
}

// EndReturn removes what is half made.
func (f *Fake) EndReturn(ctx context.Context, o source.Return) (*source.Returned, error) {
	done, err := f.call(ctx)
	if !done {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.returns[o.Name]
	if r != nil && r.half != nil {
		delete(f.returns, o.Name)
		r = nil
	}
	if err != nil || r == nil {
		return nil, err
	}
	return r.told(), nil
}

func (r *fakeReturn) told() *source.Returned {
	return &source.Returned{Machine: r.machine, Name: r.name, Via: Via, Kept: r.kept}
}

type fakeReturning struct {
	f *Fake
	o source.Return
}

func (r *fakeReturning) Abort(ctx context.Context) error {
	_, err := r.f.EndReturn(ctx, r.o)
	return err
}

func (r *fakeReturning) Finish(ctx context.Context) (*source.Returned, error) {
	done, err := r.f.call(ctx)
	if !done {
		return nil, err
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	is := r.f.returns[r.o.Name]
	switch {
	case r.o.InPlace:
		is = &fakeReturn{machine: r.o.Machine, name: r.o.Machine, kept: true}
		r.f.returns[r.o.Name] = is
	case is == nil:
		return nil, errors.New("what was half made is gone")
	case is.half != nil:
		if _, taken := r.f.machines[is.machine]; taken {
			return nil, fmt.Errorf("there is a machine %q since", is.machine)
		}
		for _, file := range r.o.Files {
			if int64(len(is.half[file.Key])) != file.Size {
				return nil, fmt.Errorf("disk %q was not written", file.Key)
			}
		}
		r.f.machines[is.machine], is.half = is.half, nil
		r.f.finished++
	}
	if err != nil {
		return nil, err
	}
	return is.told(), nil
}

// Copied reports whether the order of that name was for a copy.
func (f *Fake) Copied(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.returns[name]
	return r != nil && r.copied
}

// Finished is how many new machines became whole.
func (f *Fake) Finished() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.finished
}

func (r *fakeReturning) Stream(ctx context.Context, file source.File) (source.DiskStream, error) {
	if _, err := r.f.call(ctx); err != nil {
		return nil, err
	}
	return &fakeStream{r: r, ctx: ctx, file: file, b: make([]byte, file.Size)}, nil
}

type fakeStream struct {
	r    *fakeReturning
	ctx  context.Context
	file source.File
	b    []byte
	at   int64
}

func (s *fakeStream) Write(off int64, p []byte) error {
	if _, err := s.r.f.call(s.ctx); err != nil {
		return err
	}
	if off < s.at || off+int64(len(p)) > int64(len(s.b)) {
		return source.Permanent(fmt.Errorf("write of %d bytes at %d of %d, after %d", len(p), off, len(s.b), s.at))
	}
	copy(s.b[off:], p)
	s.at = off + int64(len(p))
	s.r.f.mu.Lock()
	defer s.r.f.mu.Unlock()
	s.r.f.streamed += int64(len(p))
	return nil
}

func (s *fakeStream) Close() error {
	done, err := s.r.f.call(s.ctx)
	if !done {
		return err
	}
	s.r.f.mu.Lock()
	defer s.r.f.mu.Unlock()
	if s.r.o.InPlace {
		s.r.f.machines[s.r.o.Machine][s.file.Key] = s.b
	} else if is := s.r.f.returns[s.r.o.Name]; is == nil || is.half == nil {
		return errors.New("what was half made is gone")
	} else {
		is.half[s.file.Key] = s.b
	}
	return err
}

func (s *fakeStream) Cancel() {}

func (r *fakeReturning) Disk(ctx context.Context, file source.File) (source.DiskInPlace, error) {
	if _, err := r.f.call(ctx); err != nil {
		return nil, err
	}
	return &fakeInPlace{r, ctx, file}, nil
}

type fakeInPlace struct {
	r    *fakeReturning
	ctx  context.Context
	file source.File
}

func (d *fakeInPlace) Ranges() bool { return !d.r.f.WholeDisks }
func (d *fakeInPlace) Close() error { return nil }

func (d *fakeInPlace) ReadAt(p []byte, off int64) (int, error) {
	if _, err := d.r.f.call(d.ctx); err != nil {
		return 0, err
	}
	d.r.f.mu.Lock()
	defer d.r.f.mu.Unlock()
	return bytes.NewReader(d.r.f.machines[d.r.o.Machine][d.file.Key]).ReadAt(p, off)
}

func (d *fakeInPlace) WriteAt(p []byte, off int64) (int, error) {
	if !d.Ranges() {
		return 0, source.Permanent(errors.New("no ranges are taken"))
	}
	done, err := d.r.f.call(d.ctx)
	d.r.f.mu.Lock()
	defer d.r.f.mu.Unlock()
	if done {
		copy(d.r.f.machines[d.r.o.Machine][d.file.Key][off:], p)
		d.r.f.changed += int64(len(p))
	}
	return len(p), err
}

// Streamed is how many bytes were written to streams.
func (f *Fake) Streamed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streamed
}

// Changed is how many bytes were written in place.
func (f *Fake) Changed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

var _ source.Destination = (*Fake)(nil)
