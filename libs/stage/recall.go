package stage

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// probeAfter is how long a recall may stand still before we ask the broker
// whether the rest of the log is hollow.
const probeAfter = 500 * time.Millisecond

// recall reads where the tables end now. The room is ready when it has seen
// all rows below.
func (m *Room) recall() {
	m.intents()
	for _, f := range m.feeds {
		if f.table && !m.found(f) {
			return
		}
	}
	for _, s := range m.mem.run.shelves {
		m.wholes++
		s.join(m, func() { m.wholes--; m.reach(nil, 0) })
	}
	m.mem.run.meet(m)
	m.reach(nil, 0)
	m.probe(map[*feed]int64{})
}

// found reads the bounds of a table, and goes to where the room wants to begin.
func (m *Room) found(f *feed) bool {
	log := Log{ID: m.mem.run.ids[f.topic]}
	ask := func(into *int64, which int64) bool {
		at, ok := m.mem.boundary(m.ctx, f.topic, m.Number, which)
		*into = at
		return ok
	}
	if !ask(&log.End, logEnd) {
		return false
	}
	f.end = log.End
	if f.input.begin == nil {
		return true
	}
	if !ask(&log.Start, logStart) {
		return false
	}
	from, err := f.input.begin(log)
	if err != nil {
		m.Fail(err)
		return false
	}
	m.mu.Lock()
	f.from, f.seen = from, from // the poll loop goes there with the first rows it has
	m.mu.Unlock()
	return true
}

// learn shows the room one row.
func (m *Room) learn(f *feed, rec *kgo.Record) {
	if rec.Offset >= f.from && !m.mem.run.passes(rec) {
		err := m.row(f, rec)
		delete(f.bad, string(rec.Key))
		if isBug(err) { // it may have done half of it: no newer row cures that
			m.stop(&badRow{rec, err})
			return
		}
		if err != nil {
			if f.bad == nil {
				f.bad = map[string]*badRow{}
			}
			f.bad[string(rec.Key)] = &badRow{rec, err}
		}
	}
	m.reach(f, rec.Offset+1)
}

// row has one row handled. The rows of a recall are not told one by one.
func (m *Room) row(f *feed, rec *kgo.Record) error {
	if err := foreign(rec, m.mem.run.specs[rec.Topic], m.mem.run.env.Region); err != nil {
		return err
	}
	in := &In{Context: m.ctx, Topic: rec.Topic, Part: rec.Partition, Offset: rec.Offset, Key: rec.Key, Time: rec.Timestamp, room: m}
	show := func() error { return caught(func() error { return f.input.handle(in, rec) }) }
	if !m.ready {
		return show()
	}
	var err error
	m.watched(in, new(trying), func() error { err = show(); return nil }) // a bad row is told where it stops the room
	return err
}

// reach notes that all rows of f below to are in the room.
func (m *Room) reach(f *feed, to int64) {
	if f != nil {
		f.seen = max(f.seen, to)
	}
	if m.ctx.Err() != nil {
		return
	}
	if m.ready {
		if f != nil && len(f.bad) > 0 {
			m.stop(worst(f.bad))
		}
		return
	}
	var rows int64
	for _, f := range m.feeds {
		if f.table && f.seen < f.end {
			return
		}
		rows += f.end - f.from
	}
	if m.wholes > 0 {
		return
	}
	for _, f := range m.feeds {
		if len(f.bad) > 0 {
			m.stop(worst(f.bad))
			return
		}
	}
	m.mu.Lock()
	m.ready = true
	m.mu.Unlock()
	m.mem.run.tell(Note{Kind: Recalled, Part: m.Number, Count: rows, Took: time.Since(m.born)})
	for _, b := range m.body.beats {
		m.Post(func() { m.beat(b) })
	}
	for _, l := range m.body.late {
		m.after(l.age/4, func() { m.overdue(l) })
	}
}

func worst(bad map[string]*badRow) *badRow { return bad[slices.Min(slices.Collect(maps.Keys(bad)))] }

// probe helps a recall whose log has no row just below its end: compacted away,
// or a transaction's marker. The client tells no position without a record, so
// we fetch once ourselves.
func (m *Room) probe(before map[*feed]int64) {
	if m.ready {
		return
	}
	now := map[*feed]int64{}
	for _, f := range m.feeds {
		now[f] = f.seen
		if old, ok := before[f]; !ok || old != f.seen || f.seen >= f.end {
			continue
		}
		from, end := f.seen, f.end
		m.Go(func(ctx context.Context) func() {
			to := m.mem.run.hollow(ctx, m.mem.cl, f.topic, m.mem.run.ids[f.topic], m.Number, from, end)
			return func() { m.reach(f, to) }
		})
	}
	m.after(probeAfter, func() { m.probe(now) })
}
