package stage

import (
	"slices"
	"time"
)

// ledger knows which offsets of one stream partition are done. Its room's lock
// guards it. It keeps about 100 bytes for each input that is handled or held,
// never the input itself: holds are bounded by the staging window, not by us,
// because a cap here would deadlock (the release may need a later record).
type ledger struct {
	topic  string // physical
	floor  int64  // the first offset not done, which is what we commit; -1: not known yet
	sent   int64  // the last floor that the broker has acknowledged
	intent int64  // the last offset of a block that begins at floor, or -1
	open   []*item
	done   []covered // waiting for the commit that covers them
}

// covered runs after a commit beyond its offset.
type covered struct {
	offset int64
	run    []func()
}

// item is one input from its first attempt until it is done.
type item struct {
	room   *Room
	led    *ledger
	offset int64
	left   int // the handler with its emits, and each hold
	since  time.Time
	holds  []*Hold
	told   time.Time // when it was last called overdue
	after  []func()
}

func (l *ledger) take(m *Room, offset int64) *item {
	it := &item{room: m, led: l, offset: offset, left: 1, since: time.Now()}
	l.open = append(l.open, it)
	return it
}

func (it *item) keep(h *Hold) {
	it.room.mu.Lock()
	defer it.room.mu.Unlock()
	it.left++
	it.holds = append(it.holds, h)
}

// settle ends one duty of it: that of h, or, if h is nil, the handler's. An
// error ends the room instead, and the floor stays.
func (it *item) settle(h *Hold, err error) {
	if err != nil {
		if isTooLarge(err) { // the broker says so, of a batch: it may have been a neighbour
			it.room.mem.run.blames.add(spot{it.led.topic, it.room.Number, it.offset}, err)
		}
		it.room.Fail(err)
		return
	}
	it.room.mu.Lock()
	defer it.room.mu.Unlock()
	it.left--
	if h != nil {
		it.holds = slices.DeleteFunc(it.holds, func(o *Hold) bool { return o == h })
	}
	if it.room.closed {
		return // revoked or failed: the floor is already spoken for
	}
	l := it.led
	for len(l.open) > 0 && l.open[0].left == 0 {
		first := l.open[0]
		l.floor = first.offset + 1
		if first.after != nil {
			l.done = append(l.done, covered{first.offset, first.after})
		}
		l.open[0] = nil
		l.open = l.open[1:]
	}
}

// acknowledged notes a commit, and returns what it covers.
func (l *ledger) acknowledged(floor int64) (run []func()) {
	l.sent = floor
	for len(l.done) > 0 && l.done[0].offset < floor {
		run = append(run, l.done[0].run...)
		l.done = l.done[1:]
	}
	return run
}

// overdue returns the holds of inputs older than age, each once per age.
func (l *ledger) overdue(age time.Duration) (old []*Hold) {
	for _, it := range l.open {
		if time.Since(it.since) < age {
			break
		}
		if len(it.holds) > 0 && time.Since(it.told) >= age {
			it.told = time.Now()
			old = append(old, it.holds...)
		}
	}
	return old
}
