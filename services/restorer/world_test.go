//go:build synctests

package restorer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob/blobtest"
	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const testParts = 3

// sender is the source of all requests here.
const sender = "/bench"

// world is a library and a root to restore below, both real, around a bench.
type world struct {
	t    *testing.T
	b    *stagetest.Bench
	lib  *library
	root string
	seed uint64
	born uint64
	keep time.Duration // of ended restores; 0: the default

	fakes map[string]*sourcetest.Fake // the sources
	alone func(context.Context) (bool, error)
}

// process is one restorer with its own way to each target.
type process struct {
	m      *stagetest.Member
	dead   *atomic.Bool
	faults []*blobtest.Faulty
}

// run is a bench with a world around it. The stage of the bench is replaced
// before each member joins, since each has a vault of its own.
func run(t *testing.T, seed uint64, lib *library, f func(*world)) {
	t.Helper()
	root := t.TempDir()
	stagetest.Run(t, seed, Stage(Default(), Deps{}), testParts, func(b *stagetest.Bench) {
		f(&world{t: b.T, b: b, lib: lib, root: root, seed: seed})
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// join starts a restorer whose reads fail in such a share of all, and take up to slow.
func (w *world) join(weather, torn float64, slow time.Duration) *process {
	w.t.Helper()
	w.born++
	p := &process{dead: &atomic.Bool{}}
	targets := w.lib.targets()
	for i := range targets {
		f := blobtest.NewFaulty(targets[i].Store, w.seed<<8+w.born*2+uint64(i))
		targets[i].Store, p.faults = f, append(p.faults, f)
	}
	v, err := vault.Open(context.Background(), targets)
	w.must(err)
	r, err := v.Reader(w.lib.ring)
	w.must(err)
	for _, f := range p.faults {
		f.Slow(slow).Lose(weather)
	}
	c := Default()
	c.Keep = cmp.Or(conf.Duration(w.keep), c.Keep)
	sources := map[string]source.Destination{"images": nil}
	for name, f := range w.fakes {
		sources[name] = mortal{f, p.dead}
	}
	w.b.Stage = Stage(c, Deps{Vault: v, Reader: r, Roots: []string{w.root}, Sources: sources, Alone: w.alone})
	p.m = w.b.Join(torn)
	return p
}

// crash ends a process. What it still asks of a source is not heard.
func (p *process) crash() {
	p.dead.Store(true)
	p.m.Crash()
}

// send asks for a restore, and returns its id.
func (w *world) send(id string, at time.Time, req schemas.RestoreRequested) schemas.UUID {
	w.t.Helper()
	body, err := json.Marshal(req)
	w.must(err)
	headers, value, err := schemas.EncodeEvent(schemas.Event{ID: id, Source: sender, Type: schemas.TypeRestoreRequested, Time: at, Data: body})
	w.must(err)
	w.b.Send(topics.RestoresRequested.Event([]byte(id), value, headers))
	return schemas.RestoreID(sender, id)
}

// to is a plain request for all files of the point, into a folder of the root.
func (w *world) to(dir string) schemas.RestoreRequested {
	return schemas.RestoreRequested{Point: w.lib.point, Destination: schemas.RestoreDestination{Dir: filepath.Join(w.root, dir)}}
}

// put makes a file below the root, which somebody else owns.
func (w *world) put(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.root, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

// told returns all that was said about the end of a restore, in order.
func (w *world) told(id schemas.UUID) (all []schemas.RestoreCompleted) {
	w.t.Helper()
	var first []byte
	for _, raw := range stagetest.ReadRaw(w.b, topics.RestoresCompleted.Spec) {
		e, err := schemas.DecodeEvent(raw.Headers, raw.Value)
		w.must(err)
		var c schemas.RestoreCompleted
		w.must(json.Unmarshal(e.Data, &c))
		if c.Restore != id {
			continue
		}
		if want := schemas.CompletedID(id, c.Status); e.ID != want {
			w.t.Errorf("restore %s: its end is told as event %q, want %q", id, e.ID, want)
		}
		if first == nil {
			first = e.Data
		} else if !bytes.Equal(first, e.Data) {
			w.t.Errorf("restore %s: its end is told twice and differs:\n%s\n%s", id, first, e.Data)
		}
		all = append(all, c)
	}
	return all
}

// end waits until a restore is told of, for at most an hour of virtual time.
func (w *world) end(id schemas.UUID) schemas.RestoreCompleted {
	w.t.Helper()
	for range 720 {
		if all := w.told(id); len(all) > 0 {
			return all[0]
		}
		time.Sleep(5 * time.Second)
	}
	w.b.Dump(20)
	w.t.Fatalf("restore %s has no end", id)
	return schemas.RestoreCompleted{}
}

// row is what the stage remembers of a restore, or nil.
func (w *world) row(id schemas.UUID) *schemas.RestoreOpen {
	w.t.Helper()
	return stagetest.Rows(w.b, topics.RestoresOpen)[string(id.Bytes())]
}

// equal holds a folder against the point: its files, whole, and no other.
func (w *world) equal(dir string, names ...string) {
	w.t.Helper()
	if len(names) == 0 {
		names = []string{"disk0.raw", "domain.xml"}
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(w.root, dir, name))
		if err != nil || !bytes.Equal(got, w.lib.files[name]) {
			w.t.Errorf("%s/%s differs from the point: %d bytes, %v", dir, name, len(got), err)
		}
	}
	there, err := os.ReadDir(filepath.Join(w.root, dir))
	if err != nil || len(there) != len(names) {
		w.t.Errorf("%s holds %v, want %v; %v", dir, there, names, err)
	}
}

// untouched holds a file against what its owner wrote.
func (w *world) untouched(path, text string) {
	w.t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		w.t.Errorf("%s was %q and is %.40q, %v", path, text, got, err)
	}
}

// seeded runs f as a test for each seed.
func seeded(t *testing.T, n uint64, f func(t *testing.T, seed uint64)) {
	for seed := range n {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { f(t, seed) })
	}
}
