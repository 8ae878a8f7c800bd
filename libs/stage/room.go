package stage

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/topics"
)

var errGone = fmt.Errorf("room is gone: %w", context.Canceled)

// Room is one partition number of the stage, from assignment to revocation or
// to its first lost emit. Its methods are safe from any goroutine.
type Room struct {
	Number, Of int32 // this partition, of so many

	mem    *member
	ctx    context.Context
	cancel context.CancelFunc
	body   body
	born   time.Time
	done   chan struct{}  // closed when the goroutine and all its work have ended
	work   sync.WaitGroup // background work, see Go

	working atomic.Bool // the goroutine has something in its hands
	lost    atomic.Bool // it was not revoked: we were put out of the group

	mu     sync.Mutex
	feeds  []*feed // tables first
	wholes int     // whole tables still to be seen
	posts  []func()
	owed   []func() // as posts, but run when the room has ended, too
	over   bool     // nobody runs owed any more
	bell   chan struct{}
	closed bool
	ready  bool // tables are recalled
}

// Context ends with the room.
func (m *Room) Context() context.Context { return m.ctx }

// Emit writes events at once. A lost one ends the room, and so its inputs come
// again; but an input that is done by then does not. What must be in the log
// before an input is done goes through In.Emit, a Hold or Put. Events that no input
// led to carry a stamp only if they say how long they took (topics.Took).
func (m *Room) Emit(events ...topics.Event) {
	for _, e := range events {
		m.mem.run.declared(e)
	}
	m.mem.emit(m.ctx, m.mem.records(m.mem.fitting(events), origin{}), m.failIf)
}

// Put writes events, and returns when they are acknowledged. An error also ends
// the room. It blocks whoever calls it: a room that puts does nothing else.
func (m *Room) Put(events ...topics.Event) error {
	for _, e := range events {
		m.mem.run.declared(e)
	}
	if err := fits(events); err != nil { // who puts must know that it is not there
		m.mem.emit(m.ctx, m.mem.records(m.mem.fitting(events), origin{}), func(error) { m.Fail(err) })
		return err
	}
	answer := make(chan error, 1)
	m.mem.emit(m.ctx, m.mem.records(events, origin{}), func(err error) {
		answer <- err // first, so that the caller learns why
		m.failIf(err)
	})
	select {
	case err := <-answer:
		return err
	case <-m.ctx.Done(): // the client may still wait for an answer: it is a ghost, then
		return errGone
	}
}

func (m *Room) failIf(err error) {
	if err != nil {
		m.Fail(err)
	}
}

// Post runs f in the room's goroutine, or never, if the room has ended.
func (m *Room) Post(f func()) {
	m.mu.Lock()
	if !m.closed {
		m.posts = append(m.posts, f)
	}
	m.mu.Unlock()
	m.ring()
}

// Go runs work beside the room, and then, what it returns (or nil), in the
// room. work must end when its context does: the next room of the number waits
// for it. In a room that has ended, nothing runs.
func (m *Room) Go(work func(ctx context.Context) (then func())) { m.beside(nil, work) }

// beside is Go for work that the input at a spot led to.
func (m *Room) beside(at *spot, work func(ctx context.Context) (then func())) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.work.Go(func() {
		m.guard(at, func() {
			if then := work(m.ctx); then != nil {
				m.Post(func() { m.guard(at, then) })
			}
		})
	})
}

// Fail ends the room, for a reason that its next one may not meet. That one is
// built after a backoff, from the first offset not done.
func (m *Room) Fail(err error) {
	if m.shut() {
		m.mem.run.tell(Note{Kind: Failed, Part: m.Number, Err: err})
		m.mem.poke()
	}
}
