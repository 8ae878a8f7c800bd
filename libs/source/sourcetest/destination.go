package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// DestinationWorld is a destination under test, with the hands to change what is
// behind it.
type DestinationWorld struct {
	Destination source.Destination
	// Add makes a machine with disks of these sizes, and returns the order that
	// brings it back: its disks in Files, in that order, and what is kept of it.
	Add func(name string, sizes ...int) source.Return
	// Bytes are those of a machine's n-th disk now.
	Bytes func(id string, n int) []byte
	// Write changes them.
	Write func(id string, n int, off int64, b []byte)
	// Remove removes a machine.
	Remove func(id string)
	// Machines counts all there are, half-made ones too.
	Machines func() int
}

// RunDestination checks what the contract of a destination promises.
func RunDestination(t *testing.T, open func(t *testing.T) DestinationWorld) {
	for name, f := range map[string]func(*testing.T, DestinationWorld){
		"gone": returnGone, "copy": returnCopy, "unfinished": returnUnfinished, "finished": returnFinished, "taken": returnTaken,
		"place": returnInPlace, "no place": returnNoPlace,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

// Bring carries an order out as the restorer does, with content by key.
func Bring(ctx context.Context, d source.Destination, o source.Return, content map[string][]byte) (*source.Returned, error) {
	r, err := d.Return(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, f := range o.Files {
		if err := bring(ctx, r, o, f, content[f.Key]); err != nil {
			return nil, errors.Join(err, r.Abort(context.WithoutCancel(ctx)))
		}
	}
	done, err := r.Finish(ctx)
	if err != nil {
		return nil, errors.Join(err, r.Abort(context.WithoutCancel(ctx)))
	}
	return done, nil
}

// piece is what is compared and written at once: on nobody's grid but half of it.
const piece = 32 << 10

func bring(ctx context.Context, r source.Returning, o source.Return, f source.File, b []byte) error {
	if o.InPlace {
		d, err := r.Disk(ctx, f)
		if err != nil {
			return err
		}
		defer d.Close()
		differs := false
		there := make([]byte, piece)
		for off := 0; off < len(b); off += piece {
			want := b[off:min(off+piece, len(b))]
			if _, err := d.ReadAt(there[:len(want)], int64(off)); err != nil {
				return err
			}
			if bytes.Equal(there[:len(want)], want) {
				continue
			}
			if differs = true; !d.Ranges() {
				break
			}
			if _, err := d.WriteAt(want, int64(off)); err != nil {
				return err
			}
		}
		if d.Ranges() || !differs {
			return nil
		}
	}
	w, err := r.Stream(ctx, f)
	if err != nil {
		return err
	}
	defer w.Cancel()
	for off := 0; off < len(b); off += piece {
		p := b[off:min(off+piece, len(b))]
		if bytes.Count(p, []byte{0}) == len(p) {
			continue
		}
		if err := w.Write(int64(off), p); err != nil {
			return err
		}
	}
	return w.Close()
}

// contents are bytes for each file of an order, which no two seeds share.
func contents(o source.Return, seed uint64) map[string][]byte {
	all := map[string][]byte{}
	for i, f := range o.Files {
		all[f.Key] = content(seed+uint64(i), int(f.Size))
	}
	return all
}

// added makes a machine whose disks hold content.
func added(w DestinationWorld, name string, seed uint64) (source.Return, map[string][]byte) {
	o := w.Add(name, 300<<10, 128<<10)
	all := contents(o, seed)
	for n, f := range o.Files {
		w.Write(o.Machine, n, 0, all[f.Key])
	}
	o.Name = source.ReturnMark + "11111111-2222-3333-4444-55555555555" + string('0'+rune(seed%10))
	return o, all
}

func same(t *testing.T, w DestinationWorld, id string, o source.Return, want map[string][]byte) {
	t.Helper()
	for n, f := range o.Files {
		if !bytes.Equal(w.Bytes(id, n), want[f.Key]) {
			t.Errorf("disk %d (%s) of %s is another", n, f.Key, id)
		}
	}
}

func bringNow(t *testing.T, w DestinationWorld, o source.Return, all map[string][]byte) *source.Returned {
	t.Helper()
	done, err := Bring(t.Context(), w.Destination, o, all)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// A machine that is gone comes back as itself.
func returnGone(t *testing.T, w DestinationWorld) {
	o, all := added(w, "gone", 1)
	w.Remove(o.Machine)
	if has, err := w.Destination.Has(t.Context(), o.Machine); err != nil || has {
		t.Fatalf("it is said to be there: %v, %v", has, err)
	}
	done := bringNow(t, w, o, all)
	if done.Machine != o.Machine || !done.Kept || done.Via == "" || done.Name == "" {
		t.Errorf("came back as %+v, want %s", done, o.Machine)
	}
	if has, err := w.Destination.Has(t.Context(), o.Machine); err != nil || !has {
		t.Errorf("it is not said to be there: %v, %v", has, err)
	}
	same(t, w, done.Machine, o, all)
}

// A copy is another machine, and the one that is there is not touched. One whose
// original lives elsewhere is a copy, too.
func returnCopy(t *testing.T, w DestinationWorld) {
	o, all := added(w, "copy", 2)
	o.As = "copy of it"
	older := contents(o, 30)
	done := bringNow(t, w, o, older)
	if done.Machine == o.Machine || done.Kept || done.Name != o.As {
		t.Errorf("came back as %+v, a copy is wanted", done)
	}
	same(t, w, done.Machine, o, older)
	same(t, w, o.Machine, o, all)
	w.Remove(o.Machine)
	o.As, o.Name, o.Copy = "copy from afar", o.Name+"b", true
	if done := bringNow(t, w, o, older); done.Machine == o.Machine || done.Kept {
		t.Errorf("came back as %+v, and its original lives elsewhere", done)
	}
}

// What is half made is found by the order alone, and removed; twice is the same,
// and it can be begun anew.
func returnUnfinished(t *testing.T, w DestinationWorld) {
	ctx := t.Context()
	o, all := added(w, "half", 3)
	o.As = "half made"
	before := w.Machines()
	if done, err := w.Destination.EndReturn(ctx, o); done != nil || err != nil {
		t.Fatalf("end of what was never begun: %+v, %v", done, err)
	}
	for range 2 {
		r, err := w.Destination.Return(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Stream(ctx, o.Files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(0, all[o.Files[0].Key][:64<<10]); err != nil {
			t.Fatal(err)
		}
		s.Cancel()
		for range 2 {
			if done, err := w.Destination.EndReturn(ctx, o); done != nil || err != nil {
				t.Fatalf("end of what is unfinished: %+v, %v", done, err)
			}
		}
		if n := w.Machines(); n != before {
			t.Fatalf("%d machines, want %d", n, before)
		}
	}
	r, err := w.Destination.Return(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Abort(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.Machines(); n != before {
		t.Fatalf("after Abort %d machines, want %d", n, before)
	}
	same(t, w, bringNow(t, w, o, all).Machine, o, all)
}

// What is finished is said again, and neither End nor Abort touches it.
func returnFinished(t *testing.T, w DestinationWorld) {
	ctx := t.Context()
	o, all := added(w, "whole", 4)
	o.As = "made whole"
	r, err := w.Destination.Return(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range o.Files {
		if err := bring(ctx, r, o, f, all[f.Key]); err != nil {
			t.Fatal(err)
		}
	}
	first, err := r.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Abort(ctx); err != nil {
			t.Fatal(err)
		}
		again, err := w.Destination.EndReturn(ctx, o)
		if err != nil || again == nil || again.Machine != first.Machine || again.Name != first.Name {
			t.Fatalf("it is %+v, and %+v was said first; %v", again, first, err)
		}
	}
	same(t, w, first.Machine, o, all)
}

// refuses holds an order that must change nothing.
func refuses(t *testing.T, w DestinationWorld, o source.Return, what string, why ...string) {
	t.Helper()
	before := w.Machines()
	_, err := w.Destination.Return(t.Context(), o)
	if !source.IsRefused(err) || !source.IsPermanent(err) {
		t.Errorf("%s: %v, want a refusal", what, err)
		return
	}
	for _, s := range why {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s is refused with %q, want %q in it", what, err, s)
		}
	}
	if done, err := w.Destination.EndReturn(t.Context(), o); done != nil || err != nil {
		t.Errorf("%s: then %+v, %v", what, done, err)
	}
	if n := w.Machines(); n != before {
		t.Errorf("%s: %d machines, there were %d", what, n, before)
	}
}

// A name that is taken is refused.
func returnTaken(t *testing.T, w DestinationWorld) {
	o, all := added(w, "taken", 5)
	refuses(t, w, o, "a taken name", "taken")
	same(t, w, o.Machine, o, all)
}

// In place, only what differs is written, and the rest stays.
func returnInPlace(t *testing.T, w DestinationWorld) {
	o, all := added(w, "place", 6)
	o.InPlace = true
	before := w.Machines()
	w.Write(o.Machine, 0, 70_000, []byte("written since"))
	w.Write(o.Machine, 1, 0, make([]byte, 9000))
	done := bringNow(t, w, o, all)
	if done.Machine != o.Machine {
		t.Errorf("came back as %+v", done)
	}
	same(t, w, o.Machine, o, all)
	done = bringNow(t, w, o, all)
	same(t, w, done.Machine, o, all)
	if n := w.Machines(); n != before {
		t.Errorf("%d machines, there were %d", n, before)
	}
}

// In place of a machine that is gone or whose disks are others is refused.
func returnNoPlace(t *testing.T, w DestinationWorld) {
	o, _ := added(w, "no place", 7)
	o.InPlace = true
	files := o.Files
	o.Files = append([]source.File{{Key: "disk-of-another", Name: "other", Kind: schemas.FileExported_KIND_DISK, Size: 4096}}, files...)
	refuses(t, w, o, "a disk that is not there", "other")
	o.Files = append([]source.File{}, files...)
	o.Files[0].Size += 65536
	refuses(t, w, o, "a disk of another size")
	o.Files = files
	w.Remove(o.Machine)
	refuses(t, w, o, "a machine that is gone")
}
