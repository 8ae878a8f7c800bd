// Package sourcetest is the suite that every source passes, and a source in
// memory that passes it.
package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// World is a source under test, with the hands to change what is behind it.
type World struct {
	Source source.Source
	// Set gives a machine a disk with these bytes; the machine is made if need be.
	Set func(machine, key string, b []byte)
	// Destroy removes a machine.
	Destroy func(machine string)
	// Made is what a disk of Set holds, of a source that makes its bytes itself: Set
	// then gives a disk's size, and the next version. nil: what was set.
	Made func(machine, key string) []byte
	// Left lists what is left at the source of snapshots of ours.
	Left func() []string

	// ID and Key are what the source calls a machine and a disk of Set. nil: the same.
	ID  func(machine string) string
	Key func(machine, key string) string
	// Unit is what a disk's size is a multiple of, one at least. 0: any size, and none.
	Unit int
}

func (w World) id(machine string) string {
	if w.ID == nil {
		return machine
	}
	return w.ID(machine)
}

func (w World) key(machine, key string) string {
	if w.Key == nil {
		return key
	}
	return w.Key(machine, key)
}

// fit makes a disk's size one that the source has.
func (w World) fit(b []byte) []byte {
	if w.Unit == 0 {
		return b
	}
	return append(b, make([]byte, max(w.Unit-len(b), (w.Unit-len(b)%w.Unit)%w.Unit))...)
}

// set is Set, and returns what the disk holds then.
func (w World) set(machine, key string, b []byte) []byte {
	w.Set(machine, key, w.fit(b))
	if w.Made == nil {
		return w.fit(b)
	}
	return w.Made(machine, key)
}

// order is one for a machine of Set.
func (w World) order(machine string) source.Order {
	return source.Order{Machine: w.id(machine), Name: "holdfast-b-" + machine}
}

// file finds a disk of Set in a snapshot.
func (w World) file(t *testing.T, s source.Snapshot, machine, key string) source.File {
	t.Helper()
	for _, f := range s.Files() {
		if f.Key == w.key(machine, key) {
			return f
		}
	}
	t.Fatalf("no file %q (%s) in the snapshot", w.key(machine, key), key)
	return source.File{}
}

// Run checks what the contract promises.
func Run(t *testing.T, open func(t *testing.T) World) {
	for name, f := range map[string]func(*testing.T, World){
		"list": list, "read": read, "tracked": tracked, "resume": resume, "end": end, "gone": gone, "exclude": exclude, "cancel": cancel,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		if i/8192%3 != 1 { // with holes
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func prepare(t *testing.T, w World, o source.Order) source.Snapshot {
	t.Helper()
	s, err := w.Source.Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// bytesOf reads a file from off by what Changed names, and the rest as before.
func bytesOf(t *testing.T, s source.Snapshot, f source.File, since string, before []byte, off int64) []byte {
	t.Helper()
	out := make([]byte, f.Size)
	if since != "" {
		copy(out, before)
	}
	r, err := s.Open(t.Context(), f, off)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	last := int64(0)
	for rg, err := range s.Changed(t.Context(), f, since) {
		if err != nil {
			t.Fatal(err)
		}
		if rg.Len <= 0 || rg.Off < last || rg.Off+rg.Len > f.Size {
			t.Fatalf("range %+v after %d, of a file of %d bytes", rg, last, f.Size)
		}
		last = rg.Off + rg.Len
		if last <= off {
			continue
		}
		from := max(rg.Off, off)
		if err := r.ReadAt(t.Context(), out[from:last], from); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func list(t *testing.T, w World) {
	w.Set("a", "disk", w.fit(content(1, 5000)))
	w.Set("b", "disk", w.fit(content(2, 5000)))
	inv, err := w.Source.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range inv.Machines {
		ids = append(ids, m.ID)
		if !utf8.ValidString(m.ID) || m.Name == "" {
			t.Errorf("machine %q has name %q", m.ID, m.Name)
		}
	}
	if slices.Sort(ids); !slices.Equal(ids, slices.Sorted(slices.Values([]string{w.id("a"), w.id("b")}))) {
		t.Errorf("listed %q, want a and b", ids)
	}
	w.Destroy("a")
	if inv, err = w.Source.List(t.Context()); err != nil || len(inv.Machines) != 1 {
		t.Errorf("listed %v, %v after one of two is gone", inv, err)
	}
}

func read(t *testing.T, w World) {
	disks := map[string][]byte{"d0": content(1, 3<<20+17), "d1": content(2, 1), "d2": {}, "d3": make([]byte, 1<<20)}
	left := map[string][]byte{}
	for _, key := range slices.Sorted(maps.Keys(disks)) {
		b := w.set("m", key, disks[key]) // makes the machine that the key is of
		left[w.key("m", key)] = b
	}
	s := prepare(t, w, w.order("m"))
	if id := s.ID(); id == "" || len(id) > 128 {
		t.Errorf("snapshot id %q", id)
	}
	last := ""
	for _, f := range s.Files() {
		if f.Key <= last || !utf8.ValidString(f.Key) {
			t.Errorf("file %q after %q", f.Key, last)
		}
		last = f.Key
		want, ok := left[f.Key]
		if !ok {
			if got := bytesOf(t, s, f, "", nil, 0); !bytes.Equal(got, bytesOf(t, s, f, "", nil, 0)) {
				t.Errorf("file %q has other bytes when it is read again", f.Key)
			}
			continue
		}
		delete(left, f.Key)
		if f.Size != int64(len(want)) || !bytes.Equal(bytesOf(t, s, f, "", nil, 0), want) {
			t.Errorf("file %q is not what it was", f.Key)
		}
		if half := f.Size / 2; !bytes.Equal(bytesOf(t, s, f, "", nil, half)[half:], want[half:]) {
			t.Errorf("the second half of %q is not what it was", f.Key)
		}
	}
	if len(left) > 0 {
		t.Errorf("files are missing: %d", len(left))
	}
	if worth, err := s.Check(t.Context()); err != nil || worth.Level < schemas.Consistency_CONSISTENCY_CRASH {
		t.Errorf("a machine that stood still is worth %v, %v", worth, err)
	}
}

func tracked(t *testing.T, w World) {
	old := w.set("m", "disk", content(1, 1<<20))
	o := w.order("m")
	since := w.file(t, prepare(t, w, o), "m", "disk").ChangeID
	end := func() {
		t.Helper()
		if err := w.Source.End(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	end()
	now := slices.Clone(old)
	copy(now[300000:], make([]byte, 10000))
	copy(now[700000:], content(4, 5000))
	now = w.set("m", "disk", now)
	o.Name += "-2"
	s := prepare(t, w, o)
	f := w.file(t, s, "m", "disk")
	if since != "" {
		if got := bytesOf(t, s, f, since, old, 0); !bytes.Equal(got, now) {
			t.Error("base and changed ranges do not make up the file")
		}
	}
	for _, id := range []string{"no such change id"} {
		for _, err := range s.Changed(t.Context(), f, id) {
			if !errors.Is(err, source.ErrUntracked) {
				t.Errorf("changes since %q: %v, want ErrUntracked", id, err)
			}
			break
		}
	}
	end()

	// Of a disk that grew, a source tells the changes, or that it can't.
	since, old = f.ChangeID, now
	now = w.set("m", "disk", append(slices.Clone(old), content(3, 50000)...))
	o.Name += "-3"
	s = prepare(t, w, o)
	f = w.file(t, s, "m", "disk")
	for _, err := range s.Changed(t.Context(), f, since) {
		if errors.Is(err, source.ErrUntracked) {
			since = ""
		}
		break
	}
	if got := bytesOf(t, s, f, since, old, 0); !bytes.Equal(got, now) {
		t.Error("base and changed ranges do not make up a file that grew")
	}
}

func resume(t *testing.T, w World) {
	want := w.set("m", "disk", content(1, 1<<20))
	o := w.order("m")
	s := prepare(t, w, o)
	again, err := w.Source.Resume(t.Context(), o, s.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.ID() != s.ID() || !slices.Equal(again.Files(), s.Files()) || !bytes.Equal(bytesOf(t, again, w.file(t, again, "m", "disk"), "", nil, 0), want) {
		t.Error("the snapshot that was resumed is another one")
	}
	if _, err := w.Source.Resume(t.Context(), o, "another"); !errors.Is(err, source.ErrGone) {
		t.Errorf("resume of another id: %v, want ErrGone", err)
	}
}

func end(t *testing.T, w World) {
	w.Set("m", "disk", w.fit(content(1, 5000)))
	o := w.order("m")
	if err := w.Source.End(t.Context(), o); err != nil {
		t.Errorf("end of what was never begun: %v", err)
	}
	prepare(t, w, o)
	for range 2 {
		if err := w.Source.End(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	if left := w.Left(); len(left) > 0 {
		t.Errorf("left at the source: %q", left)
	}
	prepare(t, w, o)
	w.Destroy("m")
	if err := w.Source.End(t.Context(), o); err != nil || len(w.Left()) > 0 {
		t.Errorf("end with the machine gone: %v, left %q", err, w.Left())
	}
}

func gone(t *testing.T, w World) {
	for _, id := range []string{"nobody", "", "..", ".", "a/b", "../m", "a\x00b", strings.Repeat("x", 5000)} {
		if _, err := w.Source.Prepare(t.Context(), source.Order{Machine: id, Name: "holdfast-b-m"}); !errors.Is(err, source.ErrGone) {
			t.Errorf("prepare machine %.20q: %v, want ErrGone", id, err)
		}
	}
}

func exclude(t *testing.T, w World) {
	w.Set("m", "keep.raw", w.fit(content(1, 5000)))
	w.Set("m", "swap.raw", w.fit(content(2, 5000)))
	swap := w.key("m", "swap.raw")
	o := w.order("m")
	o.Exclude = []string{swap[:len(swap)-2] + "*"}
	for _, f := range prepare(t, w, o).Files() {
		if f.Key == swap {
			t.Error("an excluded disk is there")
		}
	}
}

func cancel(t *testing.T, w World) {
	w.Set("m", "disk", w.fit(content(1, 5000)))
	s := prepare(t, w, w.order("m"))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	f := s.Files()[0]
	r, err := s.Open(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.ReadAt(ctx, make([]byte, 10), 0); err == nil {
		t.Error("a read goes on under a context that has ended")
	}
	if _, err := s.Check(ctx); err == nil {
		t.Error("a check goes on under a context that has ended")
	}
}
