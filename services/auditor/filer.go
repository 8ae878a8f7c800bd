package auditor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

const (
	// batchAge is how long a full page waits for others to share its map pack.
	batchAge = 2 * time.Second
	// batchIdle is how long it waits where none comes: the last pages of a backup are
	// all that its point waits for. Packs that land one after another bring pages more
	// often than that.
	batchIdle = 250 * time.Millisecond
	// flyingMax bounds the map packs in memory, stragglers too: 8 of 4 MiB. While so
	// many are not at every target that answers, full pages wait in the next.
	flyingMax = 8
)

// filer gathers full pages of all rooms of a process into map packs: one map pack
// every two seconds while they come, not one a room.
type filer struct {
	writer *vault.Writer
	mapKey [32]byte
	now    func() time.Time
	log    *slog.Logger
	flying chan struct{}

	mu  sync.Mutex
	cur *batch
}

// batch is a map pack that is being filled.
type batch struct {
	builder *vault.MapBuilder
	birth   uint64
	born    time.Time
	grew    time.Time
	pages   map[*room][]filing
	count   int
}

func newFiler(w *vault.Writer, mapKey [32]byte, now func() time.Time, log *slog.Logger) *filer {
	return &filer{writer: w, mapKey: mapKey, now: now, log: log, flying: make(chan struct{}, flyingMax)}
}

// add takes a full page. When it is durable, its room is told.
func (f *filer) add(r *room, p filing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur != nil && (!f.cur.builder.Fits() || f.cur.count >= rowPages) {
		f.flush()
	}
	if f.cur == nil {
		b, err := vault.NewMapBuilder(f.mapKey, vault.MapBuilderOptions{})
		if err != nil {
			return err
		}
		f.cur = &batch{builder: b, born: f.now(), pages: map[*room][]filing{}}
	}
	if !p.blank {
		slot, err := f.cur.builder.Add(p.out)
		if err != nil {
			return err
		}
		p.slot = slot
		f.cur.birth = max(f.cur.birth, p.a.run().GetEpoch())
	}
	f.cur.pages[r] = append(f.cur.pages[r], p)
	f.cur.count++
	f.cur.grew = f.now()
	return nil
}

// age sends the batch off that waited long enough, or to which nothing comes.
func (f *filer) age() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cur == nil || len(f.flying) >= flyingMax {
		return
	}
	if now := f.now(); now.Sub(f.cur.born) >= batchAge || now.Sub(f.cur.grew) >= batchIdle {
		f.flush()
	}
}

// flush closes the batch and sends it off. It lives as long as one of its rooms does.
func (f *filer) flush() {
	b := f.cur
	f.cur = nil
	ctx, cancel := context.WithCancel(context.Background())
	var left atomic.Int64
	left.Store(int64(len(b.pages)))
	var stops []func() bool
	for r := range b.pages {
		stops = append(stops, context.AfterFunc(r.Context(), func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	go func() {
		f.fly(ctx, b)
		for _, stop := range stops {
			stop()
		}
		cancel()
	}()
}

// fly brings a batch to a quorum of targets, tells its rooms, and stays until every
// target that can has answered.
func (f *filer) fly(ctx context.Context, b *batch) {
	if b.builder.Slots() == 0 {
		b.land(vault.PackID{}, 0, nil, 0)
		return
	}
	select {
	case f.flying <- struct{}{}:
		defer func() { <-f.flying }()
	case <-ctx.Done():
		return
	}
	begun := f.now()
	id, data, err := b.builder.Close(b.birth)
	if err != nil {
		panic(fmt.Sprintf("auditor: close a map pack of %d pages: %v", b.count, err)) // it had room for each
	}
	var landed *vault.Landed
	if err := weather(ctx, f.log, "put map pack "+id.String(), func() (err error) {
		landed, err = f.writer.Pack(ctx, id, true, data)
		return err
	}); err != nil {
		for r := range b.pages {
			r.Fail(err) // unless it has ended: its records come again
		}
		return
	}
	b.land(id, landed.Redundancy(), landed.Done(), f.now().Sub(begun))
	select {
	case <-landed.Done():
	case <-ctx.Done():
	}
}

func (b *batch) land(id vault.PackID, redundancy int, done <-chan struct{}, took time.Duration) {
	for r, pages := range b.pages {
		r.Post(func() { r.land(&landing{id, uint32(redundancy), done, pages, took / time.Duration(len(b.pages))}) })
	}
}

// patient is how long the weather is waited for: until the room ends.
var patient = blob.Policy{First: 100 * time.Millisecond, Most: 10 * time.Second}

// weather repeats do until it succeeds, fails for good, or ctx ends.
func weather(ctx context.Context, log *slog.Logger, what string, do func() error) error {
	waits := patient.Waits(ctx)
	for {
		err := do()
		if err == nil || ctx.Err() != nil || final(err) {
			return err
		}
		log.Warn("retry", "what", what, "err", err)
		d := waits.NextBackOff()
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// final reports whether err is an answer: the same call again gives the same.
func final(err error) bool {
	for _, f := range []error{blob.ErrNotExist, vault.ErrDamaged, vault.ErrConflict, vault.ErrWrongKey, vault.ErrNoKey} {
		if errors.Is(err, f) {
			return true
		}
	}
	return false
}
