// Package sealer is the compressor-encryptor: it reads the chunks that no vault has
// yet out of staging, checks that each is what it is called, compresses and seals
// it, and puts packs of them where the uploader finds them.
//
// It recomputes every name because dedup spreads an error: bytes that changed after
// they were named would stand under a good name for every machine that ever has that
// chunk. What does not fit its name, or is not there, is told as a fault of its run,
// and its claim is given back.
//
// All rooms of a process share one open pack, so that packs fill also when each
// machine sends little. Nothing of it is durable: records are held until the pack
// that has their chunks was told, and after a crash the same chunks come again and go
// into another pack, under another key. Key, counter and builder live and die
// together; what erred is dropped and its chunks are sealed anew.
//
// The way of a chunk: add gathers for 200 ms; pump sorts and hands out groups of
// neighbours; readers read them, at most as many at once as there are tools to seal
// with; seal appends to the open pack; ship writes a full one beside.
package sealer

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	gatherFor = 200 * time.Millisecond // so that one extent's records, of several rooms, meet
	packFor   = 2 * time.Second        // an open pack waits no longer for more
	idleFor   = 200 * time.Millisecond // nor for anything, if nothing comes

	// gatherBytes is gathered at most: two packs.
	gatherBytes = 2 * vault.PackBytes
	// readers wait for bytes, also the 5 s of a blob that is not there, one of them for
	// each; those must not stop the others. 16 groups of 1 MiB are 16 MiB of buffers.
	readers = 16
	// packsInFlight is how many packs are being filled or written: one each, so that
	// sealing does not wait for a write and memory is 2 x 17 MiB. When both are full, as
	// with no room in the sealed area, sealing waits, and nobody else.
	packsInFlight = 2
	// missingMax bounds what is remembered of blobs that are not there: 4096 names of
	// about 100 bytes. After a restart many records of freed extents come again, and
	// each blob is waited for once.
	missingMax = 4096
)

// atOnce is a timer that has run out. Not time.After(0): a select over one ended Go
// 1.26's runtime, once, in a test in virtual time under the race detector.
var atOnce = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// engine seals the records of a process's rooms, as long as it has any.
type engine struct {
	env   stage.Env
	deps  Deps
	parts int32 // of chunks.dropped

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	tasks chan group
	tools chan *tool    // also the limit of what is sealed at once
	bufs  chan []byte   // memory of packs that are not in flight
	turn  chan struct{} // has its one element while nobody appends; a channel, since its owner may wait for a write
	wake  chan struct{}
	open  *pack // of whoever has the turn

	mu       sync.Mutex
	pending  []ref
	bytes    int // of pending
	flying   int // groups handed out and not done
	gates    map[*stage.Hold]*record
	packs    map[*stage.Hold]*pack
	missing  map[string]bool
	parked   map[string][]group // by blob that a reader waits for
	again    []group            // no longer parked
	gatherAt <-chan time.Time
	packAt   <-chan time.Time
	idleAt   <-chan time.Time
}

func newEngine(env stage.Env, d Deps, workers int) (*engine, error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	e := &engine{env: env, deps: d, parts: env.Parts(topics.ChunksDropped.Spec),
		tasks: make(chan group), tools: make(chan *tool, workers), bufs: make(chan []byte, packsInFlight),
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		gates: map[*stage.Hold]*record{}, packs: map[*stage.Hold]*pack{}, missing: map[string]bool{}, parked: map[string][]group{}}
	for range workers {
		t, err := newTool(d)
		if err != nil {
			return nil, err
		}
		e.tools <- t
	}
	for range packsInFlight {
		e.bufs <- nil // made by the first builder that takes it
	}
	e.turn <- struct{}{}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.work.Go(e.pump)
	for range readers {
		e.work.Go(e.read)
	}
	return e, nil
}

// stop drops all that is under way. It returns when nothing runs any more.
func (e *engine) stop() {
	e.cancel()
	e.work.Wait()
}

// add takes a record, which is held.
func (e *engine) add(r *record) {
	e.mu.Lock()
	e.gates[r.gate] = r
	refs := make([]ref, r.left)
	for n := range refs {
		refs[n] = ref{r, n}
	}
	e.queue(refs)
	e.mu.Unlock()
	e.ring()
}

// queue puts chunks behind the pending ones. The caller has the mutex.
func (e *engine) queue(refs []ref) {
	if len(e.pending) == 0 {
		e.gatherAt = time.After(gatherFor)
	}
	e.pending = append(e.pending, refs...)
	for _, r := range refs {
		e.bytes += int(r.length())
	}
	if e.bytes >= gatherBytes {
		e.gatherAt = atOnce
	}
}

// ring makes pump look at its timers again.
func (e *engine) ring() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// pump hands out groups and closes the open pack when it is time.
func (e *engine) pump() {
	var ready []group
	for {
		e.mu.Lock()
		gatherAt, packAt, idleAt := e.gatherAt, e.packAt, e.idleAt
		ready = append(ready, e.again...)
		e.again = nil
		e.mu.Unlock()
		var tasks chan group
		var next group
		if len(ready) > 0 {
			tasks, next = e.tasks, ready[0]
		}
		select {
		case <-e.ctx.Done():
			return
		case <-e.wake:
		case tasks <- next:
			ready = ready[1:]
		case <-gatherAt:
			ready = append(ready, e.take()...)
		case <-packAt:
			e.close()
		case <-idleAt:
			if e.idle() {
				e.close()
			}
		}
	}
}

// take makes groups of what is pending. They count as flying from here.
func (e *engine) take() []group {
	e.mu.Lock()
	refs := e.pending
	e.pending, e.bytes, e.gatherAt = nil, 0, nil
	e.flying++ // while they are sorted, too
	e.mu.Unlock()
	groups := gather(refs)
	e.mu.Lock()
	e.flying += len(groups) - 1
	e.mu.Unlock()
	return groups
}

// idle reports whether nothing more is on its way to the open pack; else the next
// append sets the timer again.
func (e *engine) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idleAt = nil
	return len(e.pending) == 0 && e.flying == 0
}

// overdue gives up what was held too long: the lease behind it ended long ago. A
// pack that still waits to be written is forgotten.
func (e *engine) overdue(h *stage.Hold) {
	e.mu.Lock()
	r, p := e.gates[h], e.packs[h]
	var events []topics.Event
	if r != nil {
		r.given = true
		delete(e.gates, h)
		r.gone = r.gone[:0]
		for n := range r.msg.Refs.Places {
			r.gone = append(r.gone, n)
		}
		r.code, r.why = "overdue", "not sealed in "+holdMax.String()
		events = r.losses(e.parts)
	}
	if p != nil {
		p.given = true
		delete(e.packs, h)
	}
	e.mu.Unlock()
	h.Release(events...)
}

// settle gives chunks their fate: in a pack that was told, or, with a code, lost. A
// record with no chunk left is released.
func (e *engine) settle(refs []ref, code, why string) {
	e.mu.Lock()
	var done []*record
	for _, r := range refs {
		if code != "" {
			if r.rec.code == "" {
				r.rec.code, r.rec.why = code, why
			}
			r.rec.gone = append(r.rec.gone, r.n)
		}
		if r.rec.left--; r.rec.left == 0 && !r.rec.given {
			done = append(done, r.rec)
			delete(e.gates, r.rec.gate)
		}
	}
	e.mu.Unlock()
	for _, r := range done {
		r.gate.Release(r.losses(e.parts)...)
	}
}
