package deduper

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	there = index.Place{Pack: vault.PackID{Birth: 1, ID: [16]byte{9}}, Offset: 4, Framed: 5}
)

func uuid(n int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n)) }

func chunk(n int) (id cut.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

// cutOf is a cut record of an attempt at a backup: place i is chunk ids[i].
func cutOf(backup, attempt int, ids ...int) *schemas.ChunksCut {
	c := &schemas.ChunksCut{Run: &schemas.Run{Backup: uuid(backup), Attempt: uint32(attempt), Lease: uuid(100*backup + attempt), Epoch: 1},
		Blob: "b", Refs: &schemas.Refs{}}
	for i, n := range ids {
		id := chunk(n)
		c.Refs.Ids = append(c.Refs.Ids, id[:]...)
		c.Refs.Places = append(c.Refs.Places, uint64(i))
		c.Refs.Offsets, c.Refs.Lengths = append(c.Refs.Offsets, uint32(i)*100), append(c.Refs.Lengths, 100)
	}
	return c
}

// sent is what a record says of its places: k known, f fresh, and - those that wait.
func sent(r *record) string {
	out := make([]byte, len(r.cut.Refs.Places))
	for i := range out {
		out[i] = '.'
		if r.waits != nil && r.waits[i] {
			out[i] = '-'
		}
	}
	for _, i := range r.fresh {
		out[i] = 'f'
	}
	for _, p := range r.known.GetPlaces().GetPlaces() {
		out[p] = 'k'
	}
	return string(out)
}

func asks(c *claims, now time.Time, backup, attempt int, ids ...int) *record {
	r := &record{cut: cutOf(backup, attempt, ids...)}
	for i := range ids {
		if c.ask(r, i, now) {
			r.send(i)
		}
	}
	return r
}

func TestClaims(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c *claims, a, b, d *record)
		want string // of a, b, d: all places of two shared chunks
	}{
		{"first is sent, second waits, a second place waits too", func(*claims, *record, *record, *record) {}, "ff- -- --"},
		{"a stored chunk answers all but its claimant", func(c *claims, _, _, _ *record) { c.stored(chunk(1), there, 3, noon) }, "ffk k- k-"},
		{"a dropped chunk passes to another lease", func(c *claims, a, _, _ *record) {
			c.dropped(a.cut.Run, 0, 0, chunk(1), noon)
		}, "ff- f- --"},
		{"who is not the claimant has nothing to drop", func(c *claims, _, b, _ *record) {
			c.dropped(b.cut.Run, 0, 0, chunk(1), noon)
		}, "ff- -- --"},
		{"another place of the claimant's file neither", func(c *claims, a, _, _ *record) {
			c.dropped(a.cut.Run, 0, 1, chunk(1), noon)
		}, "ff- -- --"},
		{"what is dropped again passes again, and last to the same lease", func(c *claims, a, b, d *record) {
			c.dropped(a.cut.Run, 0, 0, chunk(1), noon)
			c.dropped(b.cut.Run, 0, 0, chunk(1), noon)
			c.dropped(a.cut.Run, 0, 2, chunk(1), noon)
		}, "fff f- f-"},
		{"nothing passes by age too early", func(c *claims, _, _, _ *record) { c.tick(noon.Add(passAfter - 1)) }, "ff- -- --"},
		{"a claim passes by age", func(c *claims, _, _, _ *record) { c.tick(noon.Add(passAfter)) }, "ff- ff --"},
		{"and then not soon again", func(c *claims, _, _, _ *record) {
			c.tick(noon.Add(passAfter))
			c.tick(noon.Add(passAfter + passAgain - 1))
		}, "ff- ff --"},
		{"but then once more", func(c *claims, _, _, _ *record) {
			c.tick(noon.Add(passAfter))
			c.tick(noon.Add(passAfter + passAgain))
		}, "fff ff -f"},
		{"a record that waited too long goes fresh, and the rest still waits", func(c *claims, _, b, _ *record) { c.release(b) }, "ff- ff --"},
		{"and is not answered twice", func(c *claims, _, b, _ *record) {
			c.release(b)
			c.stored(chunk(1), there, 3, noon)
		}, "ffk ff k-"},
		{"nor claims again", func(c *claims, a, b, _ *record) {
			c.release(b)
			c.dropped(a.cut.Run, 0, 0, chunk(1), noon)
		}, "ff- ff f-"},
		{"a later attempt has the claim at once", func(c *claims, a, b, d *record) {
			*b = *asks(c, noon, 1, 2, 1, 2)
			c.dropped(a.cut.Run, 0, 0, chunk(1), noon)
		}, "ff- ff --"},
		{"the claimant's own record, again, waits", func(c *claims, _, b, _ *record) { *b = *asks(c, noon, 1, 1, 1, 2) }, "ff- -- --"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClaims()
			a, b, d := asks(c, noon, 1, 1, 1, 2, 1), asks(c, noon, 2, 1, 1, 2), asks(c, noon, 3, 1, 1, 2)
			tc.do(c, a, b, d)
			if got := sent(a) + " " + sent(b) + " " + sent(d); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// A chunk that never comes is sent by the next who waits, once enough younger
// ones have come, and without anyone waiting the next to ask has it.
func TestOvertakenClaimPasses(t *testing.T) {
	c := newClaims()
	lost := asks(c, noon, 1, 1, 1, 2)
	waits := asks(c, noon, 2, 1, 1)
	for n := range overtakenBy {
		if asks(c, noon.Add(time.Second), 3, 1, 10+n); sent(waits) != "-" {
			t.Fatalf("passed after %d", n)
		}
		c.stored(chunk(10+n), there, 1, noon.Add(overtakenAge-1))
	}
	if c.overtake(noon.Add(overtakenAge - 1)); sent(waits) != "-" {
		t.Fatal("passed while it may still be on its way")
	}
	if c.tick(noon.Add(overtakenAge)); sent(waits) != "f" {
		t.Fatal("1024 younger claims are stored, and the waiter still waits")
	}
	if again := asks(c, noon, 4, 1, 2, 1); sent(again) != "f-" {
		t.Fatalf("claims after being overtaken: %s, of %s", sent(again), sent(lost))
	}
}

// naive does what the protocol says, by looking at everything that ever happened.
type naive struct {
	claims  map[int]*naiveClaim
	settled []int // seqs of stored claims
	seq     int
	out     map[string]string // record/place -> what was said of it
}

type naiveClaim struct {
	run     *schemas.Run
	where   string
	place   uint64
	seq     int
	at, due time.Time
	aged    bool
	waits   []naiveWait
}

type naiveWait struct {
	run   *schemas.Run
	where string
	place uint64
}

func (m *naive) give(id int, w naiveWait, now time.Time) {
	l := m.claims[id]
	if l == nil {
		l = &naiveClaim{}
		m.claims[id] = l
	}
	m.seq++
	l.run, l.where, l.place, l.seq, l.at, l.due = w.run, w.where, w.place, m.seq, now, now.Add(passAfter)
	if l.aged {
		l.due = now.Add(passAgain)
	}
	m.out[w.where] += "f"
}

func (m *naive) ask(id int, w naiveWait, now time.Time) {
	if l := m.claims[id]; l == nil || later(w.run, l.run) {
		m.give(id, w, now)
	} else {
		l.waits = append(l.waits, w)
	}
}

func (m *naive) pass(id int, now time.Time) {
	l := m.claims[id]
	for pass := range 2 {
		for i, w := range l.waits {
			if pass == 0 && string(w.run.Lease) == string(l.run.Lease) {
				continue
			}
			l.waits = append(l.waits[:i:i], l.waits[i+1:]...)
			m.give(id, w, now)
			return
		}
	}
	delete(m.claims, id)
}

func (m *naive) overtake(now time.Time) {
	for {
		oldest := -1
		for id, l := range m.claims {
			if oldest < 0 || l.seq < m.claims[oldest].seq {
				oldest = id
			}
		}
		if oldest < 0 || now.Sub(m.claims[oldest].at) < overtakenAge {
			return
		}
		younger := 0
		for _, s := range m.settled {
			if s > m.claims[oldest].seq {
				younger++
			}
		}
		if younger < overtakenBy {
			return
		}
		m.pass(oldest, now)
	}
}

// Goal: claims do what the protocol says. Method: random events against a model
// that is too simple and too slow to be wrong in the same way. At the end every
// place is answered, and none twice.
func TestClaimsAreAsTheProtocolSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, m := newClaims(), &naive{claims: map[int]*naiveClaim{}, out: map[string]string{}}
		now, records, other := noon, map[string]*record{}, &record{cut: cutOf(9, 1, 99)}
		got := map[string]string{}
		said := func() {
			for name, r := range records {
				for _, i := range r.fresh {
					got[fmt.Sprint(name, "/", i)] += "f"
				}
				for _, p := range r.known.GetPlaces().GetPlaces() {
					got[fmt.Sprint(name, "/", p)] += "k"
				}
				r.fresh, r.known = nil, nil
			}
			c.take()
		}
		ids := rapid.IntRange(0, 5)
		store := func(id int) {
			if l := m.claims[id]; l != nil {
				for _, w := range l.waits {
					m.out[w.where] += "k"
				}
				m.settled = append(m.settled, l.seq)
				delete(m.claims, id)
				m.overtake(now)
			}
			c.stored(chunk(id), there, 1, now)
		}
		ask := func(name string, backup, attempt int, list []int) {
			r := &record{cut: cutOf(backup, attempt, list...)}
			records[name] = r
			for i, id := range list {
				m.ask(id, naiveWait{r.cut.Run, fmt.Sprint(name, "/", i), uint64(i)}, now)
				if c.ask(r, i, now) {
					r.send(i)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				ask(fmt.Sprint("r", len(records)), rapid.IntRange(1, 3).Draw(t, "backup"), rapid.IntRange(1, 3).Draw(t, "attempt"),
					rapid.SliceOfN(ids, 1, 4).Draw(t, "ids"))
			},
			"stored": func(t *rapid.T) { store(ids.Draw(t, "id")) },
			"dropped": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				if l := m.claims[id]; l != nil && rapid.Bool().Draw(t, "right") {
					c.dropped(l.run, 0, l.place, chunk(id), now)
					m.pass(id, now)
				} else {
					c.dropped(&schemas.Run{Lease: uuid(7)}, 0, 0, chunk(id), now)
				}
			},
			"many others are stored": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 700}).Draw(t, "n") {
					c.ask(other, 0, now)
					c.stored(chunk(99), there, 1, now)
					m.seq++
					m.settled = append(m.settled, m.seq)
					m.overtake(now)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, overtakenAge, passAfter, passAgain}).Draw(t, "by"))
				m.tick(now)
				c.tick(now)
			},
			"": func(t *rapid.T) {
				said()
				waits := 0
				for _, l := range m.claims {
					waits += len(l.waits)
				}
				if fmt.Sprint(got) != fmt.Sprint(m.out) {
					t.Fatalf("said\n%v, want\n%v", got, m.out)
				}
				if c.waiting != waits || len(c.byID) != len(m.claims) {
					t.Fatalf("%d wait for %d claims, want %d for %d", c.waiting, len(c.byID), waits, len(m.claims))
				}
			},
		})
		for range 100 {
			now = now.Add(passAgain)
			c.tick(now)
		}
		said()
		for name, r := range records {
			for i := range r.cut.Refs.Places {
				if where := fmt.Sprint(name, "/", i); len(got[where]) != 1 {
					t.Fatalf("%s was answered %q", where, got[where])
				}
			}
		}
		if len(c.byID) != 0 || len(c.spare) != len(c.all) || len(c.spareW) != len(c.waits) || c.waiting != 0 {
			t.Fatalf("left over: %d claims, %d of %d spare, %d of %d waits", len(c.byID), len(c.spare), len(c.all), len(c.spareW), len(c.waits))
		}
	})
}

func (m *naive) tick(now time.Time) {
	var due []int
	for id, l := range m.claims {
		if !now.Before(l.due) {
			due = append(due, id)
		}
	}
	bySeq(due, m.claims)
	for _, id := range due {
		if l := m.claims[id]; len(l.waits) > 0 {
			l.aged = true
			m.pass(id, now)
		} else if now.Sub(l.at) >= passAgain {
			m.pass(id, now)
		}
	}
	m.overtake(now)
}

func bySeq(ids []int, of map[int]*naiveClaim) {
	slices.SortFunc(ids, func(a, b int) int { return of[a].seq - of[b].seq })
}
