package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/rate"
)

const (
	// breakerFailures in a row open a breaker.
	breakerFailures = 5
	// probeEvery is how often a target that is down is asked.
	probeEvery = 10 * time.Second
	// probeMax is how long it has to answer.
	probeMax = 10 * time.Second
	// putMax is how long a put may take before it counts as a failure: a shard of
	// 4 MiB at 140 KB/s. It is the patience for stragglers, too.
	putMax = stragglersMax
	// busyMax is how long a target may only say that it is busy. Until then that is
	// no failure: it works, and its store calls it less.
	busyMax = putMax
	// lanePlaces is how many puts are under way on one target: the packs that an
	// uploader has in flight, so that one flush of a file target takes them all.
	lanePlaces = 8
	// spaceMin is the room that a target which was full must have again: the
	// shards of lanePlaces packs, and as much for the next.
	spaceMin = 64 << 20
)

// lane is the way to one target, with its breaker. The breaker's state is under
// the writer's lock.
type lane struct {
	w      *Writer
	no     int
	slot   *slot
	places chan struct{}
	limit  *rate.Limiter // of ours; nil: none
	seats  chan struct{} // of who waits for it

	down   bool
	fails  int       // in a row
	good   time.Time // when a put was last answered well, or the target came up
	why    string
	since  time.Time
	turned chan struct{} // closed and made anew at each turn
}

func newLane(w *Writer, no int, s *slot) *lane {
	return &lane{w: w, no: no, slot: s, places: make(chan struct{}, lanePlaces), limit: w.o.Limits[s.name], seats: make(chan struct{}, seats),
		since: w.o.Now(), good: w.o.Now(), turned: make(chan struct{})}
}

// gate is whether the breaker is closed, and what is closed when that changes.
func (l *lane) gate() (open bool, turned <-chan struct{}) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return !l.down, l.turned
}

// put is one attempt in a place that the caller took. It returns when the store
// does, when the parcel is over, or after putMax; the place is free and the
// parcel's bytes are dropped only when the store has really returned.
func (l *lane) put(p *parcel, o load) error {
	if !o.own {
		p.users.Add(1)
	}
	answer := make(chan error, 1)
	late := make(chan struct{})
	watch := time.AfterFunc(putMax, func() {
		l.note(fmt.Errorf("no answer in %s", putMax))
		close(late)
	})
	go func() {
		err := l.w.put(p.life, l, o)
		<-l.places
		if !o.own {
			p.drop()
		}
		if watch.Stop() && !(err != nil && p.life.Err() != nil) { // told to stop is no failure
			l.note(err)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-late:
		return errors.New("no answer")
	case <-p.life.Done():
		return context.Cause(p.life)
	}
}

// note counts an answer.
func (l *lane) note(err error) {
	if err == nil || errors.Is(err, blob.ErrExist) {
		l.w.mu.Lock()
		l.fails, l.good = 0, l.w.o.Now()
		l.w.mu.Unlock()
		return
	}
	l.w.mu.Lock()
	switch busy := errors.Is(err, blob.ErrBusy); {
	case errors.Is(err, blob.ErrKey): // our fault, not the target's
	case busy && l.w.o.Now().Sub(l.good) < busyMax:
	default:
		l.fails++
	}
	open := l.fails >= breakerFailures || errors.Is(err, blob.ErrFull) || errors.Is(err, blob.ErrDenied)
	l.w.mu.Unlock()
	if open {
		l.trip(err)
	}
}

// trip opens the breaker and begins to ask the target whether it is back.
func (l *lane) trip(why error) {
	l.w.mu.Lock()
	if l.down || l.w.closed {
		l.w.mu.Unlock()
		return
	}
	l.w.work.Add(1)
	l.flip(true, why.Error())
	l.w.mu.Unlock()
	go func() {
		defer l.w.work.Done()
		l.revive(errors.Is(why, blob.ErrFull))
	}()
	l.tell()
}

// flip needs the writer's lock.
func (l *lane) flip(down bool, why string) {
	l.down, l.why, l.since = down, why, l.w.o.Now()
	l.good = l.since
	close(l.turned)
	l.turned = make(chan struct{})
}

func (l *lane) revive(full bool) {
	for {
		wait := time.NewTimer(probeEvery)
		select {
		case <-wait.C:
		case <-l.w.life.Done():
			wait.Stop()
			return
		}
		err := l.probe(full)
		l.w.mu.Lock()
		if err == nil {
			// One more failure opens it again: asking is not putting.
			l.fails = breakerFailures - 1
			l.flip(false, "")
			l.w.mu.Unlock()
			l.tell()
			return
		}
		l.why = err.Error()
		l.w.mu.Unlock()
	}
}

// probe asks the target whether it is the one it should be and takes puts. What
// it puts is there already: a target that can write says so, and keeps nothing.
func (l *lane) probe(full bool) error {
	_, err := within(l.w.life, probeMax, func(ctx context.Context) (_ struct{}, err error) {
		if err := l.slot.prove(ctx); err != nil {
			return struct{}{}, err
		}
		if free, known := l.slot.store.Free(ctx); full && known && free < spaceMin {
			return struct{}{}, fmt.Errorf("%w: %d MiB free, %d are needed", blob.ErrFull, free>>20, spaceMin>>20)
		}
		if err = l.slot.store.Put(ctx, settingsKey, l.slot.want); errors.Is(err, blob.ErrExist) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// turn needs the writer's lock.
func (l *lane) turn() Turn {
	up := 0
	for _, m := range l.w.lanes {
		if !m.down {
			up++
		}
	}
	return Turn{l.slot.name, !l.down, l.since, l.why, up >= l.w.v.Quorum()}
}

// tell reports how the lane stands now: if it turned twice at once, the last word is right.
func (l *lane) tell() {
	l.w.told.Lock()
	defer l.w.told.Unlock()
	l.w.mu.Lock()
	t := l.turn()
	l.w.mu.Unlock()
	log := l.w.o.Log.With("target", t.Target, "quorum", t.Quorum)
	if t.Up {
		log.Info("target is up")
	} else {
		log.Warn("target is down", "why", t.Why)
	}
	if l.w.o.OnTurn != nil {
		l.w.o.OnTurn(t)
	}
}
