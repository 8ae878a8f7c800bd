package stage

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/topics"
)

// Across is Whole for a stage that serves several regions (Env.Regions; without them,
// its own): the table of each, also of one that comes while the room lives. h is told of
// which region a row is; turned, first that a region is there, then that it is read,
// and at last that it is gone: its rows are the room's to forget.
//
// No region stands in another's way: a room waits for those that are there at its
// birth, but for no longer than wait; and a row that does not decode is told and
// passed over, where a Whole would end the room.
func Across[R any, T proto.Message](t topics.Topic[T], wait time.Duration, h func(r R, region string, key []byte, row T), turned func(R, Region)) Port[R] {
	return Port[R]{topics: []topics.Spec{t.Spec}, kind: across, wait: wait,
		decode: func(rec *kgo.Record) (any, error) { return t.Decode(rec.Value) },
		bind: func(r R, b *body) {
			b.across = func(region string, w row) {
				v, _ := w.value.(T)
				h(r, region, w.key, v)
			}
			b.turned = func(g Region) { turned(r, g) }
		}}
}

// broad is what a stage reads in each region that it serves.
type broad struct {
	topic topics.Spec
	wait  time.Duration
}

// abroad is that table in one region, kept once per process for all its rooms.
type abroad struct {
	Region
	shelf *shelf
	wait  time.Duration
}

// regions are those that the stage serves; without a word on them, its own.
func (r *runner) regions() *Regions {
	if r.env.Regions != nil {
		return r.env.Regions
	}
	own := Region{Name: r.env.Region, parts: map[string]int32{}, ids: map[string][16]byte{}}
	for name, t := range r.specs {
		own.parts[t.Name], own.ids[t.Name] = r.env.counts[name], r.ids[name]
	}
	return &Regions{there: map[string]sight{own.Name: {Region: own}}, looked: time.Now(), turned: make(chan struct{})}
}

// goAbroad reads the table of each region, from when it comes until it goes. It returns
// when those that are there have begun to be read.
func (r *runner) goAbroad(ctx context.Context) (done func()) {
	if r.stage.broad == nil {
		return func() {}
	}
	return r.regions().Follow(ctx, func(g Region) func() { return r.enter(ctx, g) })
}

// enter begins to read a region's table, and shows it to all rooms, those that come
// later too.
func (r *runner) enter(ctx context.Context, g Region) (leave func()) {
	t := r.stage.broad.topic
	parts := map[int32]kgo.Offset{}
	for p := range g.Parts(t) {
		parts[p] = kgo.NewOffset().AtStart()
	}
	cl, err := shelfClient(r.env, map[string]map[int32]kgo.Offset{t.In(g.Name): parts})
	if err != nil {
		r.tell(Note{Kind: Trouble, Topic: t.In(g.Name), Err: err})
		return func() {}
	}
	a := &abroad{Region: g, wait: r.stage.broad.wait, shelf: newShelf(r, cl, t, g.Name, r.stage.decode[t.Name])}
	a.shelf.id, a.shelf.lenient = g.ids[t.Name], true
	a.shelf.to = func(m *Room) func(row) { return func(w row) { m.body.across(g.Name, w) } }
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { defer close(ended); r.readShelves(ctx, cl, []*shelf{a.shelf}) }()
	r.mu.Lock()
	r.abroads[g.Name] = a
	for m := range r.homes {
		a.join(m, false)
	}
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		delete(r.abroads, g.Name)
		for m := range r.homes {
			a.leave(m)
		}
		r.mu.Unlock()
		cancel()
		<-ended
		cl.Close()
	}
}

// meet shows m every region, from now on. It waits for those that are there.
func (r *runner) meet(m *Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.homes[m] = true
	for _, a := range r.abroads {
		m.wholes++
		a.join(m, true)
	}
}

func (r *runner) part(m *Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.homes, m)
	for _, a := range r.abroads {
		a.shelf.leave(m)
	}
}

// join shows m the region; awaited says that the room is not ready before.
func (a *abroad) join(m *Room, awaited bool) {
	g := a.Region
	m.Post(func() { m.body.turned(g) })
	enough := func() { // in the room's goroutine
		if awaited {
			awaited = false
			m.wholes--
			m.reach(nil, 0)
		}
	}
	if awaited {
		m.after(a.wait, enough)
	}
	a.shelf.join(m, func() {
		g.Read = true
		m.body.turned(g)
		enough()
	})
}

// leave also has the client forget the region's topics: what it still has for them is
// lost, and what comes for another region of that name would wait for their old ids.
func (a *abroad) leave(m *Room) {
	a.shelf.leave(m)
	g := a.Region
	g.Gone = true
	for name := range g.parts {
		m.mem.cl.PurgeTopicsFromProducing(topics.Spec{Name: name}.In(g.Name))
	}
	m.Post(func() { m.body.turned(g) })
}
