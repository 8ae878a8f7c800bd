package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// weather is how long an attempt that failed waits for the next. The breaker
// counts failures of all parcels, so few of them wait as long as Most.
var weather = blob.Policy{First: 200 * time.Millisecond, Most: 5 * time.Second}

// load is what one target gets of a parcel.
type load struct {
	key  string
	body [][]byte
	own  bool // the body is no longer the parcel's
}

// parcel is one object, or the shards of one pack, on its way to the targets.
type parcel struct {
	w      *Writer
	kind   kind
	quorum int
	loads  []load                             // by lane; each shipment drops its own
	settle func(context.Context, *lane) error // says whether an object that is there is ours; nil: it is
	spent  func()                             // when no store reads the loads any more; nil: nothing to do

	life   context.Context
	cancel context.CancelFunc
	landed atomic.Int32
	others atomic.Int32 // targets that have other bytes under the name
	users  atomic.Int32 // shipments, and puts that may outlive them
	enough chan struct{}
	failed chan struct{}
	done   chan struct{}
	over   sync.Once
	fail   sync.Once
	err    error // set before failed is closed
}

func (w *Writer) parcel(k kind, quorum int) *parcel {
	p := &parcel{w: w, kind: k, quorum: quorum, loads: make([]load, len(w.lanes)),
		enough: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{})}
	p.life, p.cancel = context.WithCancel(w.life)
	return p
}

// ship sends all loads off and returns at the quorum.
func (p *parcel) ship(ctx context.Context) error {
	if !p.w.start(len(p.loads)) {
		return errors.New("the writer is closed")
	}
	p.users.Store(int32(len(p.loads)))
	var all sync.WaitGroup
	for i, l := range p.w.lanes {
		all.Go(func() {
			defer p.w.work.Done()
			o := &p.loads[i]
			p.carry(l, o)
			o.body = nil
			if !o.own {
				p.drop()
			}
		})
	}
	go func() { all.Wait(); p.end() }()
	select {
	case <-p.enough:
		p.land()
		return nil
	case <-p.failed:
		p.end()
		return p.err
	case <-ctx.Done():
		p.end()
		return fmt.Errorf("%d of %d durable, %d are needed: %w", p.landed.Load(), len(p.loads), p.quorum, context.Cause(ctx))
	case <-p.w.life.Done():
		p.end()
		return errors.New("the writer is closed")
	}
}

// start counts shipments, unless the writer is closed.
func (w *Writer) start(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.work.Add(n)
	}
	return !w.closed
}

// carry brings one load to its target, or gives up: when the parcel is over, or
// has its quorum while the target is down.
func (p *parcel) carry(l *lane, o *load) {
	waits := weather.Waits(p.life)
	for p.board(l, o) {
		err := l.put(p, *o)
		if errors.Is(err, blob.ErrExist) && p.settle != nil { // ErrDiffers, too: the last word is that of the bytes
			_, err = within(p.life, putMax, func(ctx context.Context) (struct{}, error) { return struct{}{}, p.settle(ctx, l) })
		}
		switch {
		case errors.Is(err, blob.ErrDiffers):
			p.differs(l, o.key, err)
			return
		case err == nil, errors.Is(err, blob.ErrExist):
			if int(p.landed.Add(1)) == p.quorum {
				close(p.enough)
			}
			return
		case errors.Is(err, ErrConflict), errors.Is(err, blob.ErrKey):
			p.fail.Do(func() { p.err = l.slot.fault(err); close(p.failed) })
			return
		}
		wait := time.NewTimer(waits.NextBackOff())
		select {
		case <-wait.C:
		case <-p.life.Done():
			wait.Stop()
			return
		}
	}
}

// differs is where a target holds something else under a shard's name, such as
// what it kept of a put that it refused: it has no such shard. The pack goes on
// without, and is worthless once too few targets are left for its quorum.
func (p *parcel) differs(l *lane, key string, err error) {
	p.w.o.Log.Warn("a target has another object in a shard's place", "target", l.slot.name, "key", key, "err", err)
	if int(p.others.Add(1)) > len(p.loads)-p.quorum {
		p.fail.Do(func() { p.err = l.slot.fault(fmt.Errorf("%w: %w", ErrConflict, err)); close(p.failed) })
	}
}

// board waits until our own limit of the target lets the load pass, and then for a
// place in the lane. A load that still waits when its parcel
// has its quorum takes its own bytes along, so that a slow target holds up to
// youngerPacks shards in memory and not as many packs.
func (p *parcel) board(l *lane, o *load) bool {
	enough := p.enough
	for paid := false; ; {
		open, turned := l.gate()
		if open && !paid {
			var over bool
			if paid, over = p.pay(l, o, turned); over {
				return false
			}
			continue
		}
		if open {
			select {
			case l.places <- struct{}{}:
				return true
			case <-p.life.Done():
				return false
			case <-turned:
			case <-enough:
				enough = nil
				p.own(o)
			}
			continue
		}
		select {
		case <-turned:
		case <-p.enough:
			return false
		case <-p.life.Done():
			return false
		}
	}
}

// own gives a load bytes of its own: whoever lent the parcel's has them back while
// it waits.
func (p *parcel) own(o *load) {
	if o.own {
		return
	}
	for i, b := range o.body {
		o.body[i] = bytes.Clone(b)
	}
	o.own = true
	p.drop()
}

// land is called at the quorum: what comes after is a matter of patience.
func (p *parcel) land() {
	patience := time.AfterFunc(stragglersMax, p.end)
	context.AfterFunc(p.life, func() { patience.Stop() })
	p.w.mu.Lock()
	young := append(p.w.young[p.kind], p)
	var old *parcel
	if len(young) > p.kind.younger() {
		old, young = young[0], young[1:]
	}
	p.w.young[p.kind] = young
	p.w.mu.Unlock()
	if old != nil {
		old.end()
	}
	select {
	case <-p.done: // it ended before it was in the list
		p.w.forget(p)
	default:
	}
}

// end is the last of a parcel. Puts that are under way are told to stop.
func (p *parcel) end() {
	p.over.Do(func() {
		p.cancel()
		close(p.done)
		p.w.forget(p)
	})
}

func (w *Writer) forget(p *parcel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, q := range w.young[p.kind] {
		if p == q {
			w.young[p.kind] = append(w.young[p.kind][:i:i], w.young[p.kind][i+1:]...)
			return
		}
	}
}

// drop is called by each user of the loads' bytes when it is through with them.
func (p *parcel) drop() {
	if p.users.Add(-1) == 0 && p.spent != nil {
		p.spent()
	}
}

// fault is what makes the parcel worthless, if something does.
func (p *parcel) fault() error {
	select {
	case <-p.failed:
		return p.err
	default:
		return nil
	}
}
