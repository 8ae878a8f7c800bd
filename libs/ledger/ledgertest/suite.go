package ledgertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Sink is what the recorder needs of a ledger.
type Sink interface {
	Insert(ctx context.Context, token string, rows ledger.Rows) error
	Missing(ctx context.Context, rows ledger.Rows) (ledger.Rows, error)
}

// Run is the contract of a sink. count says how many rows a table has.
func Run(t *testing.T, s Sink, count func(table string) int) {
	ctx := t.Context()
	insert := func(t *testing.T, token string, rows ledger.Rows) {
		t.Helper()
		if err := s.Insert(ctx, token, rows); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(t *testing.T, table string, before, more int) {
		t.Helper()
		if n := count(table) - before; n != more {
			t.Errorf("%s has %d rows more, want %d", table, n, more)
		}
	}
	missing := func(t *testing.T, rows ledger.Rows, want int) {
		t.Helper()
		got, err := s.Missing(ctx, rows)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != want {
			t.Errorf("%d rows are missing, want %d", got.Len(), want)
		}
	}

	t.Run("a repeated insert is there once", func(t *testing.T) {
		n := count("stage_event")
		rows := Events("repeat", 0, 100)
		insert(t, "repeat 0-99", rows)
		insert(t, "repeat 0-99", rows)
		wants(t, "stage_event", n, 100)
	})
	t.Run("at once, too", func(t *testing.T) {
		n := count("stage_event")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := s.Insert(ctx, "crowd 0-9", Events("crowd", 0, 10)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wants(t, "stage_event", n, 10)
	})
	t.Run("over midnight, too", func(t *testing.T) {
		n := count("stage_event")
		rows := Events("midnight", 0, 10)
		for i := range rows {
			rows[i].AtMs += int64(i) * 5 * time.Hour.Milliseconds()
		}
		insert(t, "midnight 0-9", rows)
		insert(t, "midnight 0-9", rows)
		wants(t, "stage_event", n, 10)
	})
	t.Run("equal rows of two tokens are two", func(t *testing.T) {
		n := count("stage_event")
		insert(t, "twin a", Events("twin", 0, 1))
		insert(t, "twin b", Events("twin", 0, 1))
		wants(t, "stage_event", n, 2)
	})
	t.Run("a token is of one table", func(t *testing.T) {
		n, m := count("stage_event"), count("progress")
		insert(t, "both", Events("both", 0, 1))
		insert(t, "both", ledger.Progresses{{Origin: Events("both", 0, 1)[0].Origin}})
		wants(t, "stage_event", n, 1)
		wants(t, "progress", m, 1)
	})
	t.Run("nothing is nothing", func(t *testing.T) {
		insert(t, "nothing", ledger.Places{})
		missing(t, ledger.Places{}, 0)
	})
	t.Run("what is not there is missing", func(t *testing.T) {
		rows := Events("seek", 0, 30)
		missing(t, rows, 30)
		insert(t, "seek 10-19", rows[10:20])
		missing(t, rows, 20)
		missing(t, rows[10:20], 0)
	})
	t.Run("another log is another record", func(t *testing.T) {
		insert(t, "other 0-9", Events("other", 0, 10))
		for _, change := range []func(*ledger.Event){
			func(e *ledger.Event) { e.Region = "elsewhere" }, func(e *ledger.Event) { e.Topic = "elsewhere" },
			func(e *ledger.Event) { e.Part++ }, func(e *ledger.Event) { e.Offset += 10 }, func(e *ledger.Event) { e.AtMs += 60_000 },
		} {
			rows := Events("other", 0, 10)
			for i := range rows {
				change(&rows[i])
			}
			missing(t, rows, 10)
		}
	})
	t.Run("places, turns, gaps and machines", func(t *testing.T) { wide(t, s, count) })
}

// wide sends a row with every column of the tables that Run does not use.
func wide(t *testing.T, s Sink, count func(string) int) {
	for _, rows := range []ledger.Rows{
		ledger.Places{{Filed: &ledger.Filed{Origin: at("wide", 0), Machine: ledger.Machine{Source: "s", ID: "i", Name: "ä\x00 b"}, File: "disk"}, Places: 1, Outcome: ledger.Fresh, Chunk: [32]byte{1}}},
		ledger.Turns{{Origin: at("wide", 0), State: ledger.Failed, Warnings: []string{"a", ""}, Attempt: ledger.Attempt{Backup: schemas.UUID{7}}}},
		ledger.Gaps{{Origin: at("wide", 0), SinceMs: start, Records: 7}},
		ledger.Troubles{{Origin: at("wide", 0), Outcome: ledger.HitchStopped, Reason: "why", Attempt: ledger.Attempt{Backup: schemas.UUID{7}}}},
		ledger.Founds{{Origin: at("wide", 0), Machine: ledger.Machine{Source: "s", ID: "wide"}, Tags: []string{"x"}}},
	} {
		n := count(rows.Table())
		if err := s.Insert(t.Context(), "wide", rows); err != nil {
			t.Error(err)
		}
		if got := count(rows.Table()) - n; got != 1 {
			t.Errorf("%s has %d rows more, want 1", rows.Table(), got)
		}
	}
}

func at(topic string, offset int) ledger.Origin {
	return ledger.Origin{AtMs: start + int64(offset), Region: "r", Topic: topic, Part: 3, Offset: uint64(offset)}
}

// start of the suite's time: of today, else a lifetime of tables would end it.
var start = time.Now().Truncate(24 * time.Hour).UnixMilli()

// Events makes n rows of a topic, from an offset on.
func Events(topic string, first, n int) (rows ledger.Events) {
	for i := range n {
		rows = append(rows, ledger.Event{Origin: at(topic, first+i), Stage: "chunker", Worker: "w", WaitUs: 10, BusyUs: 20, Bytes: 1 << 20, Chunks: 16})
	}
	return rows
}
