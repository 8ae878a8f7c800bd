package stage

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (m *member) room(n int32) *Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rooms[n]
}

func numbersOf(parts map[string][]int32) []int32 {
	var ns []int32
	for _, ps := range parts {
		ns = append(ns, ps...)
	}
	slices.Sort(ns)
	return slices.Compact(ns)
}

func (m *member) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	<-m.begun
	for _, n := range numbersOf(got) {
		m.run.tell(Note{Kind: Assigned, Part: n})
		m.open(n, nil, 0)
	}
	m.run.tell(Note{Kind: Joined})
}

// adjust starts each table at its beginning, and tells each stream's feed what
// was committed.
func (m *member) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for t, parts := range offsets {
		for n, o := range parts {
			if slices.Contains(m.run.tables, t) {
				parts[n] = kgo.NewOffset().AtStart()
			} else if at := o.EpochOffset().Offset; at >= 0 {
				m.room(n).start(t, at)
			}
		}
	}
	return offsets, nil
}

func (m *Room) start(topic string, at int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.feeds {
		if f.topic == topic && f.next < 0 {
			f.next, f.floor, f.sent = at, at, at
		}
	}
}

// revoked commits what is done and lets go; nil means everything.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, m.run.grace())
	defer cancel()
	rooms := m.drop(gone)
	for range commitTries {
		if m.commitRooms(ctx, rooms) == nil || ctx.Err() != nil {
			return
		}
	}
}

// lost is told of rooms that may be another's already. A commit of theirs that
// waits in the client (as it does while we join again) must not go out any more:
// it would be ours, valid, and older than the new owner's.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	for _, room := range m.drop(gone) {
		room.lost.Store(true)
	}
}

func (m *member) drop(gone map[string][]int32) []*Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	rooms, ns := []*Room{}, numbersOf(gone)
	if gone == nil {
		ns = slices.Collect(maps.Keys(m.rooms))
	}
	for _, n := range ns {
		if room := m.rooms[n]; room != nil {
			delete(m.rooms, n)
			room.shut()
			rooms = append(rooms, room)
			m.run.tell(Note{Kind: Revoked, Part: n})
		}
	}
	return rooms
}

func (m *member) open(n int32, at map[string]place, wait time.Duration) {
	room := &Room{Number: n, Of: m.run.env.counts[slices.Concat(m.run.streams, m.run.tables)[0]],
		mem: m, born: time.Now(), done: make(chan struct{}), bell: make(chan struct{}, 1)}
	room.ctx, room.cancel = context.WithCancel(m.life)
	for _, t := range m.run.tables {
		room.feeds = append(room.feeds, newFeed(t, n, true, nowhere))
	}
	for _, t := range m.run.streams {
		p, ok := at[t]
		if !ok {
			p = nowhere
		}
		room.feeds = append(room.feeds, newFeed(t, n, false, p))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.last[n]
	m.rooms[n], m.last[n] = room, room
	m.alive.Go(func() { room.live(before, wait) })
}

// wish is a table whose next rows the room has no need of.
type wish struct {
	room *Room
	feed *feed
}

// seek is called by the poll loop, under the room's lock.
func (m *member) seek(room *Room, f *feed) { m.seeks = append(m.seeks, wish{room, f}) }

// rebuild grants wishes, and replaces failed rooms. It runs between a poll and
// AllowRebalance: no record of the old position is on its way, and no rebalance
// can interfere.
func (m *member) rebuild() {
	for _, w := range m.seeks {
		m.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{w.feed.topic: {w.room.Number: {Epoch: -1, Offset: w.room.skip(w.feed)}}})
	}
	m.seeks = nil
	if !m.failed.Swap(false) {
		return
	}
	m.mu.Lock()
	rooms := slices.Collect(maps.Values(m.rooms))
	m.mu.Unlock()
	for _, room := range rooms {
		if room.ctx.Err() == nil {
			continue
		}
		at, seek := map[string]place{}, map[string]map[int32]kgo.EpochOffset{}
		room.mu.Lock()
		for _, f := range room.feeds {
			from := f.floor
			if f.table {
				from = 0
			} else {
				at[f.topic] = place{f.floor, f.sent, f.done}
			}
			if from >= 0 {
				seek[f.topic] = map[int32]kgo.EpochOffset{room.Number: {Epoch: -1, Offset: from}}
			}
		}
		room.mu.Unlock()
		m.cl.SetOffsets(seek)
		m.open(room.Number, at, m.rest(room))
	}
}

// skip drops rows that the room has no need of, and says where to go on.
func (m *Room) skip(f *feed) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.queue, f.bytes, f.next = nil, 0, f.from
	f.wake(m.mem.cl)
	return f.from
}

// rest is how long a number waits for its next room: longer with each failure,
// until a room has lived for a minute.
func (m *member) rest(room *Room) time.Duration {
	p := m.patience[room.Number]
	if p == nil || time.Since(room.born) > time.Minute {
		p = patience(30 * time.Second)
		m.patience[room.Number] = p
	}
	return p.NextBackOff()
}
