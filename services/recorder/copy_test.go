package recorder

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// noon is when the tests' records are written, and midnight is 12 hours later.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// a desk is a room without a Kafka, at a time of its own.
type desk struct {
	*room
	fake *ledgertest.Fake
	now  time.Time
}

func newDesk() *desk {
	d := &desk{fake: &ledgertest.Fake{}, now: noon}
	d.room = &room{env: stage.Env{Region: "r", Now: func() time.Time { return d.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
		deps: Deps{Ledger: d.fake, Vault: "v"}, tried: map[string]try{}, last: map[string]int64{}}
	return d
}

// again is the room's successor.
func (d *desk) again() {
	d.room = &room{env: d.env, deps: d.deps, tried: map[string]try{}, last: map[string]int64{}}
}

// block of one topic whose records are as far apart as step.
func block[T interface{ Event([]byte, M) topics.Event }, M any](t T, part int32, step time.Duration, ms ...M) *stage.Block {
	b := &stage.Block{Part: part}
	for i, m := range ms {
		e := t.Event([]byte("k"), m)
		b.Spec, b.Topic = e.Topic, e.Topic.In("r")
		b.Records = append(b.Records, stage.Record{Offset: int64(i), Time: noon.Add(time.Duration(i) * step), Value: e.Value})
	}
	b.Last = int64(len(ms) - 1)
	return b
}

func cuts(n int) (ms []*schemas.ChunksCut) {
	for range n {
		ms = append(ms, &schemas.ChunksCut{})
	}
	return ms
}

func (d *desk) copies(t *testing.T, b *stage.Block, want int) {
	t.Helper()
	if err := d.copy(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := d.fake.Count("stage_event"); n != want {
		t.Errorf("%d events, want %d", n, want)
	}
}

// A block was torn at midnight, and comes again when its token is forgotten: by
// the same room, by another, and by another whose records are old but which
// cannot know when they were sent.
func TestTornBlockComesLate(t *testing.T) {
	for _, other := range []bool{false, true} {
		d := newDesk()
		d.fake.Weather = func() ledgertest.Fault { return ledgertest.Torn }
		b := block(topics.ChunksCut, 0, 8*time.Hour, cuts(4)...)
		d.now = noon.Add(24 * time.Hour)
		if err := d.copy(t.Context(), b); err == nil {
			t.Fatal("a torn insert was good")
		}
		if n := d.fake.Count("stage_event"); n != 2 {
			t.Fatalf("%d events of the first day, want 2", n)
		}
		b.Replay = true
		if other {
			d.again()
		}
		d.fake.Weather = nil
		d.fake.Forget()
		d.now = d.now.Add(tokenAge)
		d.copies(t, b, 4)
		d.fake.Forget()
		d.copies(t, b, 4)
	}
}

// What is sent again soon goes whole, under its token: the sums that a table
// feeds may lack what the table has. Then one look says that nothing is missing.
func TestRepeatSoonGoesWhole(t *testing.T) {
	d := newDesk()
	b := block(topics.ChunksCut, 0, time.Second, cuts(3)...)
	d.copies(t, b, 3)
	b.Replay = true
	d.again()
	calls := 0
	d.fake.Weather = func() ledgertest.Fault { calls++; return ledgertest.None }
	d.copies(t, b, 3)
	if calls != 2 {
		t.Errorf("%d calls, want the insert and one look", calls)
	}
}

// A server that was killed as it took a part may know the token, and have none of
// the rows; also of what was sent to make up for it.
func TestTokensWithoutRowsAreMadeUpFor(t *testing.T) {
	d := newDesk()
	b := block(topics.ChunksCut, 0, time.Second, cuts(3)...)
	for kill := range 4 {
		calls := 0
		d.fake.Weather = func() ledgertest.Fault { // inserts and looks take turns
			if calls++; calls == 2*kill+1 {
				return ledgertest.Hollow
			}
			return ledgertest.None
		}
		if err := d.copy(t.Context(), b); err == nil {
			t.Fatalf("kill %d: a hollow insert was good", kill)
		}
		b.Replay = true
		d.again()
	}
	d.fake.Weather = nil
	d.copies(t, b, 3)
}

// A clock that is wrong by a day, ours or a writer's, makes nothing look as if it
// had been sent lately: whoever believed it would send again what the ledger has,
// under a token that it may have forgotten.
func TestWrongClocksDoubleNothing(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ours is behind": -24 * time.Hour, "ours is ahead": 24 * time.Hour} {
		d := newDesk()
		b := block(topics.ChunksCut, 0, time.Second, cuts(3)...)
		d.copies(t, b, 3)
		b.Replay = true
		d.again()
		d.now = noon.Add(skew)
		d.fake.Forget()
		if d.copies(t, b, 3); t.Failed() {
			t.Fatal(name)
		}
	}
}

// What had left the log is a row: from the last record before it, where this room
// wrote that, to the first behind it. It is told once, however often it comes.
func TestGapsAreTold(t *testing.T) {
	d := newDesk()
	d.copies(t, block(topics.ChunksCut, 0, time.Minute, cuts(3)...), 3)
	b := block(topics.ChunksCut, 0, time.Minute, cuts(100)...)
	b.First, b.Records = 3, b.Records[50:]
	d.copies(t, b, 53)
	d.again()
	b.Replay = true
	d.copies(t, b, 53)
	var got []string
	d.fake.Each("gap", func(rows ledger.Rows, i int) {
		g := rows.(ledger.Gaps)[i]
		got = append(got, fmt.Sprint(g.Topic, " ", g.Part, " ", g.Offset, "+", g.Records, " ", time.UnixMilli(g.SinceMs).Sub(noon), " ", time.UnixMilli(g.AtMs).Sub(noon)))
	})
	if want := "chunks.cut 0 3+47 2m0s 50m0s"; len(got) != 1 || got[0] != want {
		t.Errorf("gaps %q, want %q", got, want)
	}
}

// Tokens differ where records do: by partition, by topic, and by time, for a
// topic that was made anew.
func TestTokensTellRecordsApart(t *testing.T) {
	d := newDesk()
	b := block(topics.ChunksCut, 0, time.Second, cuts(2)...)
	d.copies(t, b, 2)
	d.copies(t, block(topics.ChunksCut, 1, time.Second, cuts(2)...), 4)
	d.copies(t, block(topics.ChunksFresh, 0, time.Second, []*schemas.ChunksFresh{{}, {}}...), 6)
	for i := range b.Records {
		b.Records[i].Time = b.Records[i].Time.Add(time.Minute)
	}
	d.copies(t, b, 8)
	b.Replay = true
	d.now = noon.Add(time.Hour)
	d.copies(t, b, 8)
}

// A large block goes in pieces, cut between records, and lands once.
func TestLargeBlockGoesInPieces(t *testing.T) {
	d := newDesk()
	half := ledger.MaxRows/2 + 1
	m := &schemas.PlacesFiled{Run: &schemas.Run{Backup: make([]byte, 16)}}
	for i := range half {
		m.Runs = append(m.Runs, &schemas.PlaceRun{First: uint64(i), Count: 1})
	}
	b := block(topics.PlacesFiled, 0, time.Second, m, m, m)
	calls := 0
	d.fake.Weather = func() ledgertest.Fault { calls++; return ledgertest.None }
	d.copies(t, b, 3)
	if n := d.fake.Count("chunk_log"); n != 3*half || calls != 3 {
		t.Errorf("%d places in %d inserts, want %d in 3 with the events", n, calls, 3*half)
	}
	all, _ := d.read(b)
	next := uint64(0)
	for piece := range pieces(all.places) {
		if first := piece.Origin(0).Offset; first != next {
			t.Errorf("a piece begins in record %d, want %d: half a record is no record", first, next)
		}
		next = piece.Origin(piece.Len()-1).Offset + 1
	}
	b.Replay = true
	d.copies(t, b, 3)
	if n := d.fake.Count("chunk_log"); n != 3*half {
		t.Errorf("%d places after a repeat, want %d", n, 3*half)
	}
}
