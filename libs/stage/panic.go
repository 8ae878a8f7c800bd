package stage

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// bugTries is how often a record may end its room by what is no weather: a panic, or
// consequences that the broker finds too large. What the first left half done may be
// why the second panics, and a batch may be too large for its other records' sake. A
// third time, in a room that is built anew, it is the record.
const bugTries = 3

// bug is a panic of a handler. It must not take the process with it: the record
// comes again at the next start, and so all its stages would be down for good.
type bug struct {
	what  any
	stack string
}

func (b *bug) Error() string { return fmt.Sprintf("panic: %v", b.what) }

// caught makes an error of f's panic.
func caught(f func() error) (err error) {
	defer func() {
		if what := recover(); what != nil {
			err = &bug{what, string(debug.Stack())}
		}
	}()
	return f()
}

// spot is where a record lies.
type spot struct {
	topic  string // physical
	part   int32
	offset int64
}

func (in *In) spot() *spot {
	if in.rec == nil {
		return nil
	}
	return &spot{in.Topic, in.Part, in.Offset}
}

// blamesMax bounds what is remembered of inputs that ended a room and got well. Beyond it all are forgotten: those that do not get well are soon back.
const blamesMax = 1024

// blames counts what ended rooms, by its input. It outlives rooms and memberships.
type blames struct {
	mu sync.Mutex
	by map[spot]blame
}

type blame struct {
	times int
	last  string
}

func (b *blames) add(at spot, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by == nil || len(b.by) >= blamesMax {
		b.by = map[spot]blame{}
	}
	b.by[at] = blame{b.by[at].times + 1, err.Error()}
}

func (b *blames) clear(at spot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, at)
}

// verdict refuses a record that must not be shown to a handler any more.
func (b *blames) verdict(at spot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.by[at]; n.times >= bugTries {
		return Refuse(fmt.Errorf("it ended its room %d times, last with %s", n.times, n.last))
	}
	return nil
}

// guard runs f, which at led to (nil: nothing that is known), and ends the room if
// it panics: nobody knows what it left half done.
func (m *Room) guard(at *spot, f func()) {
	if err := caught(func() error { f(); return nil }); err != nil {
		m.panicked(at, err)
	}
}

func (m *Room) panicked(at *spot, err error) {
	n := Note{Kind: Panicked, Part: m.Number, Err: err}
	if at != nil {
		n.Topic, n.Offset = at.topic, at.offset
		m.mem.run.blames.add(*at, err)
	}
	m.mem.run.tell(n)
	m.Fail(err)
}

func isBug(err error) bool { _, ok := errors.AsType[*bug](err); return ok }

// Stack is where the panic behind err was, or empty.
func Stack(err error) string {
	if b, ok := errors.AsType[*bug](err); ok {
		return "\n" + b.stack
	}
	return ""
}
