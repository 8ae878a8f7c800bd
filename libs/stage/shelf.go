package stage

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// row is a decoded record of a whole table. value is nil in a tombstone.
type row struct {
	rec   *kgo.Record
	key   []byte
	value any
	bad   *badRow // it does not decode
}

// shelf is a whole table, kept once per process for all its rooms.
type shelf struct {
	run     *runner
	cl      *kgo.Client // shared with the other shelves
	name    string      // the house's
	topic   string      // physical
	spec    topics.Spec
	region  string
	id      [16]byte              // of the topic
	to      func(*Room) func(row) // the handler of a room
	decode  func(*kgo.Record) (any, error)
	every   bool // the table is an order of things: no record takes another's place
	lenient bool // a row that does not decode is told, and passed over

	mu    sync.Mutex
	rows  []*row         // in the log's order; nil where a newer one of the key stands further on
	at    map[string]int // of the key's newest, in rows
	live  int
	seen  map[int32]int64 // all below are in rows
	rooms map[*Room]bool
	ends  map[*Room]waiter
}

// waiter is a room that waits for all below some ends. reached runs in the room.
type waiter struct {
	ends    map[int32]int64
	reached func()
}

func newShelf(r *runner, cl *kgo.Client, t topics.Spec, region string, decode func(*kgo.Record) (any, error)) *shelf {
	return &shelf{run: r, cl: cl, name: t.Name, topic: t.In(region), spec: t, region: region, decode: decode, every: t.Width == topics.Single, at: map[string]int{},
		seen: map[int32]int64{}, rooms: map[*Room]bool{}, ends: map[*Room]waiter{}}
}

// readShelves keeps the shelves up to date until ctx ends.
func (r *runner) readShelves(ctx context.Context, cl *kgo.Client, shelves []*shelf) {
	for {
		got := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		got.EachError(func(t string, p int32, err error) { r.tell(Note{Kind: Trouble, Topic: t, Part: p, Err: err}) })
		got.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, s := range shelves {
				if s.topic == p.Topic && len(p.Records) > 0 {
					s.put(p.Partition, p.Records)
				}
			}
		})
	}
}

// put takes records of one partition, and shows them to all rooms.
func (s *shelf) put(part int32, recs []*kgo.Record) {
	news := make([]row, 0, len(recs))
	for _, rec := range recs {
		w := s.row(rec)
		if w.bad != nil && s.lenient {
			s.run.tell(Note{Kind: Passed, Topic: rec.Topic, Part: rec.Partition, Offset: rec.Offset, Err: w.bad.err})
			continue
		}
		news = append(news, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range news {
		s.keep(&news[i])
	}
	for m := range s.rooms {
		m.Post(func() { s.show(m, news) })
	}
	s.reach(part, recs[len(recs)-1].Offset+1)
}

func (s *shelf) row(rec *kgo.Record) row {
	w := row{key: rec.Key, rec: rec}
	err := foreign(rec, s.spec, s.region)
	if err == nil && rec.Value != nil {
		w.value, err = s.decode(rec)
	}
	if err != nil {
		w.bad = &badRow{rec, err}
	}
	return w
}

// keep lets a bad row take no other's place: it may yet be passed.
func (s *shelf) keep(w *row) {
	if old, ok := s.at[string(w.key)]; ok && w.bad == nil && (!s.every || s.rows[old].bad != nil) {
		s.rows[old] = nil
		s.live--
		delete(s.at, string(w.key))
	}
	if w.value == nil && w.bad == nil && !s.every {
		return
	}
	s.at[string(w.key)] = len(s.rows)
	s.rows = append(s.rows, w)
	s.live++
	if len(s.rows) > 2*s.live+64 {
		s.rows = slices.DeleteFunc(s.rows, func(w *row) bool { return w == nil })
		for i, w := range s.rows {
			s.at[string(w.key)] = i
		}
	}
}

// reach notes that all below to are on the shelf, and lets rooms go on that
// waited for it.
func (s *shelf) reach(part int32, to int64) {
	s.seen[part] = max(s.seen[part], to)
	for m, w := range s.ends {
		behind := false
		for p, end := range w.ends {
			behind = behind || s.seen[p] < end
		}
		if !behind {
			delete(s.ends, m)
			m.Post(w.reached)
		}
	}
}

// show runs in the room.
func (s *shelf) show(m *Room, rows []row) {
	do := s.to(m)
	for _, w := range rows {
		if s.run.passes(w.rec) {
			continue
		}
		if s.lenient {
			do(w)
			continue
		}
		bad := w.bad
		if bad == nil {
			if err := caught(func() error { do(w); return nil }); err != nil {
				bad = &badRow{w.rec, err}
			}
		}
		if bad != nil {
			m.stop(bad)
			return
		}
	}
}

// join shows m all rows from now on, those of the past first, and then, when m has seen
// all that the table holds now, calls reached.
func (s *shelf) join(m *Room, reached func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := make([]row, 0, s.live)
	for _, w := range s.rows {
		if w != nil {
			past = append(past, *w)
		}
	}
	s.rooms[m] = true
	m.Post(func() { s.show(m, past) })
	m.Go(func(ctx context.Context) func() { s.await(ctx, m, reached); return nil })
}

func (s *shelf) leave(m *Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rooms, m)
	delete(s.ends, m)
}

// await reads where the table ends now, and watches over a log that has nothing
// just below its end.
func (s *shelf) await(ctx context.Context, m *Room, reached func()) {
	var ends map[int32]int64
	for retry := patience(10 * time.Second); ends == nil && ctx.Err() == nil; {
		got, err := kadm.NewClient(s.cl).ListEndOffsets(ctx, s.topic)
		if err == nil {
			err = got.Error()
		}
		if err != nil {
			s.run.tell(Note{Kind: Trouble, Topic: s.topic, Part: m.Number, Err: err})
			pause(ctx, retry.NextBackOff())
			continue
		}
		ends = map[int32]int64{}
		got.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	}
	s.mu.Lock()
	if ctx.Err() == nil {
		s.ends[m] = waiter{ends, reached}
		s.reach(0, 0)
	}
	s.mu.Unlock()
	before := map[int32]int64{}
	for pause(ctx, probeAfter); ctx.Err() == nil; pause(ctx, probeAfter) {
		s.mu.Lock()
		_, waits := s.ends[m]
		now := maps.Clone(s.seen)
		s.mu.Unlock()
		if !waits {
			return
		}
		for p, end := range ends {
			if at := now[p]; at < end && at == before[p] {
				to := s.run.hollow(ctx, s.cl, s.topic, s.id, p, at, end)
				s.mu.Lock()
				s.reach(p, to)
				s.mu.Unlock()
			}
		}
		before = now
	}
}

func (m *Room) leaveShelves() {
	for _, s := range m.mem.run.shelves {
		s.leave(m)
	}
	m.mem.run.part(m)
}
