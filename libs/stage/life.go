package stage

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// live is the room's goroutine. before is the last room of this number.
func (m *Room) live(before *Room, wait time.Duration) {
	defer close(m.done)
	if before != nil {
		<-before.done
	}
	if pause(m.ctx, wait); m.ctx.Err() == nil {
		m.furnished()
	}
	m.shut()
	m.work.Wait()
	m.mu.Lock()
	owed := m.owed
	m.owed, m.over = nil, true
	m.mu.Unlock()
	for _, f := range owed {
		m.guard(nil, f)
	}
	if m.body.close != nil {
		if err := caught(m.body.close); err != nil {
			m.mem.run.tell(Note{Kind: Trouble, Part: m.Number, Err: fmt.Errorf("close: %w", err)})
		}
	}
}

func (m *Room) furnished() {
	m.mem.run.hearPardons(m.ctx, m.mem.cl)
	err := caught(func() (err error) {
		m.body, err = m.mem.run.open(m)
		return err
	})
	if isBug(err) {
		m.panicked(nil, err)
		return
	}
	if err != nil {
		m.Fail(err)
		return
	}
	for _, f := range m.feeds {
		f.input = m.body.inputs[m.mem.run.specs[f.topic].Name]
	}
	defer m.leaveShelves()
	m.recall()
	for m.ctx.Err() == nil {
		m.working.Store(true)
		busy := m.once()
		m.working.Store(false)
		if !busy {
			select {
			case <-m.bell:
			case <-m.ctx.Done():
			}
		}
	}
}

// once runs all posts and one turn of each feed; false means there was nothing.
func (m *Room) once() (busy bool) {
	m.mu.Lock()
	posts, owed := m.posts, m.owed
	m.posts, m.owed = nil, nil
	m.mu.Unlock()
	for _, f := range append(owed, posts...) {
		m.guard(nil, f)
		busy = true
	}
	for _, f := range m.feeds {
		if f.input.batch != nil {
			busy = m.block(f) || busy
			continue
		}
		for range turn {
			rec := m.pop(f)
			if rec == nil {
				break
			}
			busy = true
			if f.table {
				m.learn(f, rec)
			} else {
				m.handle(f, rec)
			}
		}
	}
	return busy
}

func (m *Room) pop(f *feed) *kgo.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.mem.draining.Load() || f.wait || !f.table && !m.ready {
		return nil
	}
	rec := f.pop(m.mem.cl)
	if rec != nil && !f.table && f.input.batch == nil && f.item == nil {
		f.item = f.take(m, rec.Offset)
	}
	return rec
}

// handle makes one attempt at rec.
func (m *Room) handle(f *feed, rec *kgo.Record) {
	it := f.item
	in := &In{Context: traced(m.ctx, Headers(rec.Headers).Get(traceHeader)), Topic: rec.Topic, Part: rec.Partition,
		Offset: rec.Offset, Key: rec.Key, Time: rec.Timestamp, room: m, rec: rec, item: it}
	err := m.watched(in, &f.trying, func() error { return m.shown(f, in) })
	if m.ctx.Err() != nil {
		in.void()
		return
	}
	switch {
	case err == nil:
		it.after = in.after
		m.mem.emit(m.ctx, m.mem.records(in.emits, in.origin()), func(err error) { it.settle(nil, err) })
	case Refused(err):
		in.void()
		m.mem.refuse(in, err, it)
	default:
		in.void()
		m.retry(f, func() { f.again = rec })
		return
	}
	f.patience.Reset()
	m.mu.Lock()
	f.item = nil
	m.mu.Unlock()
}

// shown shows an input to its handler, unless it is not for us, or has ended the room
// before, again and again, by what is no weather.
func (m *Room) shown(f *feed, in *In) error {
	if err := foreign(in.rec, m.mem.run.specs[in.Topic], m.mem.run.env.Region); err != nil {
		return err
	}
	if err := m.mem.run.blames.verdict(*in.spot()); err != nil {
		in.msg, _, _ = topics.Message(m.mem.run.specs[in.Topic], in.rec.Value) // so that its Run is told
		return err
	}
	if err := f.input.handle(in, in.rec); err != nil {
		return err
	}
	if err := fits(in.emits); err != nil {
		m.mem.run.tell(Note{Kind: Oversized, Topic: in.Topic, Part: m.Number, Offset: in.Offset, Err: err})
		return Refuse(err)
	}
	return nil
}

// retry lets the feed rest, longer each time.
func (m *Room) retry(f *feed, keep func()) {
	m.mu.Lock()
	keep()
	f.wait = true
	m.mu.Unlock()
	m.after(f.patience.NextBackOff(), func() {
		m.mu.Lock()
		f.wait = false
		m.mu.Unlock()
	})
}

// watched runs one attempt at in, and tells how it went. A panic ends the room.
func (m *Room) watched(in *In, t *trying, h func() error) error {
	n := Note{Kind: Done, Region: m.mem.run.env.Region, Stage: m.mem.run.stage.Name, Topic: in.Topic, Part: m.Number, Offset: in.Offset}
	in.start = m.mem.run.env.Now()
	began := time.Now()
	in.Context = m.mem.run.env.Watch.Begin(in.Context, n)
	err := caught(h)
	n.Took, n.Err = time.Since(began), err
	switch {
	case err == nil:
	case m.ctx.Err() != nil:
		n.Kind, n.Err = Retry, errGone
	case Refused(err):
		n.Kind = Refusal
	default:
		n.Kind = Retry
	}
	log := m.tried(in, t, &n)
	m.mem.run.env.Watch.End(in.Context, n)
	if log {
		m.mem.run.log(n)
	}
	if isBug(err) {
		m.panicked(in.spot(), err)
	}
	return err
}

// tried keeps the tale of an input that fails, tells the ledger of it, and says
// whether the log is due.
func (m *Room) tried(in *In, t *trying, n *Note) (log bool) {
	if errors.Is(n.Err, errGone) {
		return false
	}
	tell, outcome := false, schemas.InputTroubled_OUTCOME_RETRIED
	switch n.Kind {
	case Retry:
		log, tell = t.failed(time.Now())
		n.Count, n.Since = t.count, t.since
	default:
		was := t.over()
		n.Count, n.Since = was.count, was.since
		log, tell, outcome = n.Kind == Refusal, !was.told.IsZero(), schemas.InputTroubled_OUTCOME_DONE
		if n.Kind == Refusal {
			tell, outcome = true, schemas.InputTroubled_OUTCOME_REFUSED
		}
	}
	if tell {
		m.mem.trouble(*n, outcome, runOf(in))
	}
	return log
}

func (m *Room) ring() {
	select {
	case m.bell <- struct{}{}:
	default:
	}
}

// push hands over what one poll fetched. It never blocks.
func (m *Room) push(p kgo.FetchTopicPartition) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.feeds {
		if f.topic != p.Topic || m.closed {
			continue
		}
		f.high = p.HighWatermark
		if len(p.Records) == 0 {
			continue
		}
		first := p.Records[0].Offset
		switch {
		case f.next >= 0 && first < f.next:
			m.mem.run.tell(Note{Kind: Lost, Topic: f.topic, Part: m.Number, Offset: first, Count: f.next - first})
			f.floor, f.intent = first, -1
			return errors.New("the log was cut: " + f.topic)
		case f.next >= 0 && !f.table && p.LogStartOffset > f.next:
			m.mem.run.tell(Note{Kind: Lost, Topic: f.topic, Part: m.Number, Offset: f.next, Count: p.LogStartOffset - f.next})
		}
		if f.floor < 0 {
			f.floor = first // nothing was committed yet; a rebuild must know where we began
		}
		f.push(m.mem.cl, p.Records)
		if f.next < f.from {
			m.mem.seek(m, f)
		}
	}
	m.ring()
	return nil
}

// shut freezes the ledgers and stops the room; it does not wait for it.
func (m *Room) shut() (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.closed = true
	for _, f := range m.feeds {
		f.wake(m.mem.cl)
		f.queue, f.bytes = nil, 0
	}
	m.posts = nil
	m.cancel()
	return true
}

// owe runs f in the room's goroutine, or in one of its own if that has ended.
func (m *Room) owe(f func()) {
	m.mu.Lock()
	over := m.over
	if !over {
		m.owed = append(m.owed, f)
	}
	m.mu.Unlock()
	if over {
		m.mem.alive.Go(f)
		return
	}
	m.ring()
}
