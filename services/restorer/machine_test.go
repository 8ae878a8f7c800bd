//go:build synctests

package restorer

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/schemas"
)

// machine is the library's, at its source.
const machine = "m"

// fake adds a source in which the machine has a disk as the point's, changed in
// two places; or in which it is not.
func (w *world) fake(name string, there bool) *sourcetest.Fake {
	f := sourcetest.NewFake(w.seed)
	if there {
		disk := bytes.Clone(w.lib.files["disk0.raw"])
		copy(disk[3*pageSize:], "changed since")
		copy(disk[100*pageSize+testGrid:], "written since")
		f.Set(machine, "disk0.raw", disk)
	}
	if w.fakes == nil {
		w.fakes = map[string]*sourcetest.Fake{}
	}
	w.fakes[name] = f
	return f
}

// into is an order of the whole machine.
func (w *world) into(d schemas.RestoreDestination) schemas.RestoreRequested {
	return schemas.RestoreRequested{Point: w.lib.point, Destination: d, Force: d.InPlace}
}

// whole holds a machine against the point.
func (w *world) whole(f *sourcetest.Fake, id string) {
	w.t.Helper()
	if got := f.Disks(id); len(got) != 1 || !bytes.Equal(got["disk0.raw"], w.lib.files["disk0.raw"]) {
		w.t.Errorf("machine %s is not as in the point: it has %d disks", id, len(got))
	}
}

// Goal: whenever the process dies, each order of a machine has one end, one machine
// comes of it, and nothing half made is left. Method: as for files; the source fails
// too, and half of what it fails at is done; the dead are not heard.
func TestMachineProcessDiesAtAnyPoint(t *testing.T) {
	lib := newLibrary(t)
	seeded(t, seeds(), func(t *testing.T, seed uint64) {
		run(t, seed, lib, func(w *world) {
			f := w.fake("s", true)
			f.WholeDisks, f.Slow = seed%2 == 1, 300*time.Millisecond
			w.b.Weather(0.05)
			f.Weather(0.01)
			ids := map[string]schemas.UUID{}
			send := func() {
				for name, d := range map[string]schemas.RestoreDestination{"new": {Source: "s", Name: "new"}, "taken": {Source: "s"}, "place": {Source: "s", InPlace: true}} {
					ids[name] = w.send(name, time.Now(), w.into(d))
				}
			}
			send()
			send()
			for range 12 {
				p := w.join(0.005, 0.2, 100*time.Millisecond)
				time.Sleep(time.Duration(4000+w.b.Rand.IntN(18000)) * time.Millisecond)
				p.crash()
			}
			f.Weather(0)
			w.join(0, 0, 100*time.Millisecond)
			send()
			w.b.Settled() // which takes the dead out of the broker's group
			for name, want := range map[string]string{"new": statusCompleted, "taken": statusRefused, "place": statusCompleted} {
				if c := w.end(ids[name]); c.Status != want {
					t.Errorf("%s: %s, want %s: %s", name, c.Status, want, c.Reason)
				} else if want == statusCompleted && (c.Machine == nil || c.Machine.ID != map[string]string{"new": "new", "place": machine}[name] || c.Via == "") {
					t.Errorf("%s: told of %+v by %q", name, c.Machine, c.Via)
				}
			}
			w.whole(f, "new")
			w.whole(f, machine)
			if half := f.Half(); len(half) > 0 || f.Machines() != 2 || f.Finished() != 1 {
				t.Errorf("half made: %v; %d machines; %d new ones became whole", half, f.Machines(), f.Finished())
			}
			for name, id := range ids {
				w.told(id)
				if row := w.row(id); row == nil {
					t.Errorf("%s: its row is gone", name)
				}
			}
		})
	})
}

// In place only what differs is written, and the end says how much, by which way.
func TestMachineInPlaceWritesWhatDiffers(t *testing.T) {
	lib := newLibrary(t)
	run(t, 1, lib, func(w *world) {
		f := w.fake("s", true)
		w.join(0, 0, 10*time.Millisecond)
		c := w.end(w.send("place", time.Now(), w.into(schemas.RestoreDestination{Source: "s", InPlace: true})))
		w.whole(f, machine)
		if c.Status != statusCompleted || c.Written != uint64(f.Changed()) || c.Via != sourcetest.Via || c.Destination != "s" {
			t.Errorf("%+v", c)
		}
		if n := f.Changed(); n == 0 || n > 2*64<<10 {
			t.Errorf("%d bytes were written, and two places differ", n)
		}
	})
}

// Each order says one thing that is wrong; it is refused at once with the reason.
func TestMachineOrdersThatAreRefused(t *testing.T) {
	lib := newLibrary(t)
	run(t, 1, lib, func(w *world) {
		f := w.fake("s", true)
		before := maps.Clone(f.Disks(machine))
		w.join(0, 0, 10*time.Millisecond)
		for name, c := range map[string]struct {
			change func(*schemas.RestoreRequested)
			why    string
		}{
			"both":      {func(r *schemas.RestoreRequested) { r.Destination.Dir = w.root }, "a dir and a source"},
			"nowhere":   {func(r *schemas.RestoreRequested) { r.Destination = schemas.RestoreDestination{} }, "neither a dir nor a source"},
			"unknown":   {func(r *schemas.RestoreRequested) { r.Destination.Source = "x" }, `source "x" is not configured`},
			"images":    {func(r *schemas.RestoreRequested) { r.Destination.Source = "images" }, `source "images" takes no machines back`},
			"format":    {func(r *schemas.RestoreRequested) { r.As = "ova" }, "the whole machine"},
			"files":     {func(r *schemas.RestoreRequested) { r.Files = []string{"disk0.raw"} }, "the whole machine"},
			"no force":  {func(r *schemas.RestoreRequested) { r.Destination.InPlace, r.Force = true, false }, "needs force"},
			"no source": {func(r *schemas.RestoreRequested) { r.Destination.Source, r.Destination.PowerOn = "", true }, "none is named"},
			"taken":     {func(r *schemas.RestoreRequested) { r.Destination.Name = "" }, `a machine "m" already`},
			"no point":  {func(r *schemas.RestoreRequested) { r.Point = strings.Replace(r.Point, "0", "1", 1) }, "not in the vault"},
		} {
			req := w.into(schemas.RestoreDestination{Source: "s", Name: "new"})
			c.change(&req)
			began := time.Now()
			got := w.end(w.send(name, time.Now(), req))
			if got.Status != statusRefused || !strings.Contains(got.Reason, c.why) {
				t.Errorf("%s: %s %q, want refused with %q", name, got.Status, got.Reason, c.why)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: refused after %s", name, took)
			}
		}
		if f.Machines() != 1 || !maps.EqualFunc(f.Disks(machine), before, bytes.Equal) {
			t.Error("a refused order changed something")
		}
	})
}

// A source that never recovers ends the restore after a bounded time, with its
// reason; one that does is waited for.
func TestMachineWeather(t *testing.T) {
	lib := newLibrary(t)
	run(t, 1, lib, func(w *world) {
		f := w.fake("s", true)
		w.join(0, 0, 10*time.Millisecond)
		for name, c := range map[string]struct {
			down time.Duration
			want string
		}{"long": {2 * time.Hour, statusFailed}, "short": {5 * time.Minute, statusCompleted}} {
			f.Weather(1)
			began := time.Now()
			stop := time.AfterFunc(c.down, func() { f.Weather(0) })
			got := w.end(w.send(name, time.Now(), w.into(schemas.RestoreDestination{Source: "s", Name: name})))
			stop.Stop()
			took := time.Since(began)
			f.Weather(0)
			if got.Status != c.want || took > 2*patience+5*time.Minute || c.want == statusFailed && !strings.Contains(got.Reason, "weather") {
				t.Errorf("%s: %s %q after %s", name, got.Status, got.Reason, took)
			}
			if c.want == statusFailed && !strings.Contains(got.Reason, "could not be removed") {
				t.Errorf("%s: it does not say what may be left: %q", name, got.Reason)
			}
		}
		w.whole(f, "short")
	})
}

// Into another source the machine comes as itself, unless its own source says that
// it lives on. One that says nothing is taken for lost.
func TestMachineIntoAnotherSource(t *testing.T) {
	lib := newLibrary(t)
	for name, c := range map[string]struct {
		there   bool
		weather float64
		id      string
	}{"lives on": {true, 0, "back"}, "gone": {false, 0, machine}, "silent": {true, 1, machine}} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, lib, func(w *world) {
				home, to := w.fake("s", c.there), w.fake("other", false)
				home.Weather(c.weather)
				w.join(0, 0, 10*time.Millisecond)
				req := w.into(schemas.RestoreDestination{Source: "other"})
				if c.there {
					req.Destination.Name = "back"
				}
				got := w.end(w.send(name, time.Now(), req))
				if got.Status != statusCompleted {
					t.Fatalf("%s %s", got.Status, got.Reason)
				}
				if said := strings.Contains(strings.Join(got.Warnings, " "), "does not say"); said != (c.weather > 0) {
					t.Errorf("warnings %q", got.Warnings)
				}
				if copied := to.Copied(source.ReturnMark + got.Restore.String()); copied != (c.there && c.weather == 0) {
					t.Errorf("it was ordered as a copy: %v", copied)
				}
				w.whole(to, got.Machine.ID)
			})
		})
	}
}

// Goal: weather at the vault does not cost what a destination has. Method: a disk
// of more than one window of a stream; when the first has gone, no target answers
// for a while; then each byte must have been sent once.
func TestMachineVaultWeather(t *testing.T) {
	const pages = 280 // of 256 KiB: a window has 64 MiB
	lib := newLibraryOf(t, pages)
	run(t, 1, lib, func(w *world) {
		f := w.fake("s", true)
		f.Slow = 20 * time.Millisecond
		p := w.join(0, 0, 100*time.Millisecond)
		id := w.send("new", time.Now(), w.into(schemas.RestoreDestination{Source: "s", Name: "new"}))
		for f.Streamed() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		lose := func(share float64) {
			for _, t := range p.faults {
				t.Lose(share)
			}
		}
		lose(1)
		time.Sleep(time.Minute)
		if n := f.Streamed(); n != 256*testGrid {
			t.Fatalf("%d bytes were sent when the vault fell silent, one window is %d", n, 256*testGrid)
		}
		lose(0)
		if c := w.end(id); c.Status != statusCompleted {
			t.Fatalf("%s %s", c.Status, c.Reason)
		}
		w.whole(f, "new")
		if n := f.Streamed(); n != pages*testGrid+1234 {
			t.Errorf("%d bytes were sent, the disk has %d that are not zero", n, pages*testGrid+1234)
		}
	})
}
