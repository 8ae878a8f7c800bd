//go:build synctests

package auditor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/mem"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// court is the auditor on the bench, with a vault of 2+2 targets that are slow,
// lose puts, and do puts and say they failed.
type court struct {
	*stagetest.Bench
	t       *testing.T
	ring    *vault.Ring
	targets []*mem.Store
	vault   *vault.Vault // over targets without faults
	reader  *vault.Reader

	mu    sync.Mutex
	rng   *rand.Rand
	fault float64
	full  atomic.Bool     // no put gets through, and every get
	slow  time.Duration   // of the last target, beyond the weather
	cut   map[string]bool // stores of a member that died
	ends  []*vault.Writer
}

// sit runs f in a court.
func sit(t *testing.T, seed uint64, parts int32, f func(*court)) {
	t.Helper()
	c := &court{cut: map[string]bool{}, rng: rand.New(rand.NewPCG(seed, 7))}
	s := define(Default(), func(env stage.Env) (Deps, error) { return c.deps(env) })
	stagetest.Run(t, seed, s, parts, func(b *stagetest.Bench) {
		c.Bench, c.t = b, b.T
		defer func() {
			for _, w := range c.ends {
				w.Close()
			}
		}()
		c.found()
		f(c)
	})
}

// found makes the vault.
func (c *court) found() {
	var err error
	if c.ring, err = vault.NewRing(); err != nil {
		c.t.Fatal(err)
	}
	var ts []vault.Target
	for i := range 4 {
		c.targets = append(c.targets, mem.New())
		ts = append(ts, vault.Target{Name: fmt.Sprint("t", i), Store: c.targets[i]})
	}
	s := vault.Settings{Name: "v", Region: stagetest.Region, GridBytes: testGrid, Compression: "zstd-fastest", K: 2, M: 2}
	if err := vault.Init(c.t.Context(), ts, s, nil); err != nil {
		c.t.Fatal(err)
	}
	if c.vault, err = vault.Open(c.t.Context(), ts); err != nil {
		c.t.Fatal(err)
	}
	if c.reader, err = c.vault.Reader(c.ring); err != nil {
		c.t.Fatal(err)
	}
}

// deps are what one process has: its own way to each target.
func (c *court) deps(env stage.Env) (d Deps, err error) {
	var ts []vault.Target
	for i, s := range c.targets {
		ts = append(ts, vault.Target{Name: fmt.Sprint("t", i), Store: &weatherStore{s, c, env.Worker, i == len(c.targets)-1}})
	}
	d.MapKey = c.ring.Map
	if d.Vault, err = vault.Open(context.Background(), ts); err != nil {
		return d, err
	}
	if d.Reader, err = d.Vault.Reader(c.ring); err != nil {
		return d, err
	}
	d.Writer, err = vault.NewWriter(d.Vault, vault.WriterOptions{Region: stagetest.Region, Now: env.Now, Log: env.Log})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(c.ends, d.Writer)
	return d, err
}

func (c *court) draw() (float64, float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Float64(), c.fault
}

// faults sets the share of puts that are lost or ghosts, and half of it of gets that
// are lost; from 2 on nothing gets through.
func (c *court) faults(share float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = share
}

func (c *court) dead(worker string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut[worker]
}

// weatherStore is a target as one process reaches it.
type weatherStore struct {
	*mem.Store
	c      *court
	worker string
	last   bool
}

var errWeather = errors.New("weather")

func (s *weatherStore) Put(ctx context.Context, key string, body ...[]byte) error {
	p, share := s.c.draw()
	time.Sleep(time.Duration(p * float64(300*time.Millisecond)))
	if s.last {
		time.Sleep(s.c.slow)
	}
	if s.c.dead(s.worker) {
		return errWeather
	}
	q, _ := s.c.draw()
	if q < share/2 || s.c.full.Load() {
		return errWeather // lost
	}
	err := s.Store.Put(ctx, key, body...)
	if q < share && err == nil {
		return errWeather // ghost
	}
	return err
}

func (s *weatherStore) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	p, share := s.c.draw()
	time.Sleep(time.Duration(p * float64(100*time.Millisecond)))
	if q, _ := s.c.draw(); q < share/2 || s.c.dead(s.worker) {
		return nil, errWeather
	}
	return s.Store.Get(ctx, key, off, n)
}

var _ blob.Store = (*weatherStore)(nil)

// crash ends a member as a power cut would: its stores first.
func (c *court) crash(m *stagetest.Member, name string) {
	c.mu.Lock()
	c.cut[name] = true
	c.mu.Unlock()
	m.Crash()
}

// drawWorld draws a machine whose backup is the n-th. Its base lies in the vault.
func (c *court) drawWorld(seed uint64, n int) *world {
	w := rapid.Custom(func(t *rapid.T) *world { return newWorld(t, 2, 4) }).Example(int(seed)*16 + n)
	run := w.leased.Run
	run.Backup, run.Lease, run.Epoch = id("backup", n), id("lease", n), 2
	w.leased.Machine.Id = fmt.Sprint("m", n)
	w.leased.LeasedMs, w.leased.SinceMs = time.Now().UnixMilli(), time.Now().UnixMilli()
	if w.base != nil {
		c.publish(w)
	}
	return w
}

func id(what string, n int) []byte {
	u := schemas.UUID{15: byte(n)}
	copy(u[:], what)
	return u.Bytes()
}

// publish puts the base of a world into the vault, for real.
func (c *court) publish(w *world) {
	wr, err := vault.NewWriter(c.vault, vault.WriterOptions{Region: stagetest.Region})
	if err != nil {
		c.t.Fatal(err)
	}
	defer wr.Close()
	p := w.base.point
	for i, m := range p.MapPacks {
		old, _ := vault.PackIDFromProto(m)
		b, err := vault.NewMapBuilder(c.ring.Map, vault.MapBuilderOptions{})
		for _, pg := range w.store[old] {
			if err == nil {
				_, err = b.Add(pg)
			}
		}
		if err != nil {
			c.t.Fatal(err)
		}
		id, data, err := b.Close(1)
		if err != nil {
			c.t.Fatal(err)
		}
		l, err := wr.Pack(c.t.Context(), id, true, data)
		if err != nil {
			c.t.Fatal(err)
		}
		<-l.Done()
		p.MapPacks[i] = id.Proto()
	}
	p.Machine = w.leased.Machine
	p.Run.Lease = id("base", int(w.leased.Run.Backup[15]))
	w.leased.Base.Lease = p.Run.Lease
	w.facts[len(w.facts)-1].Finished.BaseLease = p.Run.Lease
	path, err := vault.PathOf(c.ring.Map, p)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := vault.EncodePoint(c.ring.Map, p)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := wr.Small(c.t.Context(), path, body); err != nil {
		c.t.Fatal(err)
	}
	w.leased.Base.Path = path
}

// records are all events of a world, in no order, some of them twice, with the
// noise of zombies: answers judged in an older epoch, of another lease, of a file
// that nobody has.
func (w *world) records(rng *rand.Rand) (out []topics.Event) {
	run := w.leased.Run
	key := run.Backup
	for _, c := range w.cuts {
		out = append(out, topics.ExtentsCut.Event(key, c))
	}
	for _, a := range w.said {
		if a.fresh {
			out = append(out, topics.ChunksLanded.Event(key, &schemas.ChunksLanded{Run: run, File: a.ext.file, Extent: a.ext.no, Places: a.places, Redundancy: 2}))
			continue
		}
		out = append(out, topics.ChunksKnown.Event(key, w.known(a, 2)))
		if rng.IntN(2) == 0 {
			out = append(out, topics.ChunksKnown.Event(key, w.zombie(a)))
		}
	}
	for _, f := range w.facts {
		out = append(out, topics.FilesExported.Event(key, f))
	}
	for _, e := range slices.Clone(out) {
		if rng.IntN(4) == 0 {
			out = append(out, e)
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (w *world) known(a answers, judged uint64) *schemas.ChunksKnown {
	return &schemas.ChunksKnown{Run: w.leased.Run, Judged: judged, File: a.ext.file, Extent: a.ext.no, Places: a.places, LookupUs: 3}
}

// zombie is an answer from an index of an older epoch: it names packs that are gone.
func (w *world) zombie(a answers) *schemas.ChunksKnown {
	k := w.known(answers{ext: a.ext, places: &schemas.Places{Places: a.places.Places, Ids: a.places.Ids, Pack: a.places.Pack,
		Offsets: a.places.Offsets, Framed: a.places.Framed}}, 1)
	for i := range a.places.Packs {
		gone := vault.PackID{Birth: 1}
		copy(gone.ID[:], "gone")
		binary.BigEndian.PutUint64(gone.ID[8:], uint64(i))
		k.Places.Packs = append(k.Places.Packs, gone.Proto())
	}
	return k
}
