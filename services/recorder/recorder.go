// Package recorder copies what happens in a region to the ledger: what became of
// each place, what each stage did, how each backup stands.
//
// It reads streams in blocks whose bounds are committed before they are taken.
// So a block that comes again after a crash is the same to the letter, and goes
// under the same token, which the ledger takes once. The ledger is blind, not a
// brake: while it is down the recorder waits, Kafka keeps the records, and nobody
// else notices.
package recorder

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
)

// tokenAge is how long the ledger surely knows a token: it remembers 100,000
// inserts into a table, which at 64 a second, four times those of a region at
// work, are 26 minutes.
const tokenAge = 15 * time.Minute

// restsMax is how often what is missing of a block is sent in one try: each takes a
// server that was killed in the same few microseconds.
const restsMax = 8

// clockSkew is how far two clocks may be apart and still be right.
const clockSkew = time.Minute

// room is one partition number. It remembers nothing that a crash may not take:
// a block is all that it needs to know.
type room struct {
	env   stage.Env
	deps  Deps
	home  *stage.Room
	tried map[string]try   // by topic
	last  map[string]int64 // by topic: the time of the last record that was written
	late  *late
	found foundRows
}

// try is the last block of a topic that this room began to send. at is zero if
// another room may have begun it before.
type try struct {
	first int64
	at    time.Time
}

func (r *room) take(b *stage.Block) error {
	r.late.begins(r, b)
	err := r.copy(r.home.Context(), b)
	if err == nil {
		r.late.ends(r, b)
	}
	return err
}

// copy sends a block's rows, table by table.
func (r *room) copy(ctx context.Context, b *stage.Block) error {
	rows, bad := r.read(b)
	if bad.count > 0 && !b.Replay {
		r.env.Log.Warn("records that do not decode are not in the ledger", "topic", b.Topic, "part", b.Part, "count", bad.count, "first", bad.first, "why", bad.why)
	}
	fresh := r.fresh(b)
	for _, table := range rows.tables() {
		for part := range pieces(table) {
			if err := r.send(ctx, b, part, fresh); err != nil {
				return err
			}
		}
	}
	delete(r.tried, b.Topic)
	if n := len(b.Records); n > 0 {
		r.last[b.Topic] = b.Records[n-1].Time.UnixMilli()
	}
	return nil
}

// fresh reports whether the block, if it was ever sent, was sent so lately that
// the ledger knows its tokens. It was not sent before its youngest record was
// written, nor, where this room was the first to take it, before it did. A clock
// that says it has yet to be written is wrong, ours or the writer's: then nothing
// is known.
func (r *room) fresh(b *stage.Block) bool {
	t, ok := r.tried[b.Topic]
	if !ok || t.first != b.First {
		t = try{first: b.First}
		if !b.Replay {
			t.at = r.env.Now()
		}
		r.tried[b.Topic] = t
	}
	for _, rec := range b.Records {
		if rec.Time.After(t.at) {
			t.at = rec.Time
		}
	}
	age := r.env.Now().Sub(t.at)
	return age > -clockSkew && age < tokenAge
}

// send writes rows of one table, once. They go under their token first, so that
// what another room still has on its way under it comes to nothing. Of a block that
// was sent before it is then looked up what is missing, and that alone goes, under a
// token of its own: a server that is killed as it takes a part may know the token
// and not have the rows. The token of an old block may be forgotten, so there the
// look comes first. Where a token and its rows did part, the sums that the table
// feeds may count these twice.
func (r *room) send(ctx context.Context, b *stage.Block, rows ledger.Rows, fresh bool) error {
	token, missing := tokenOf(b, rows), rows
	for n := 0; n <= restsMax; n++ {
		if n > 0 || b.Replay && !fresh {
			var err error
			if missing, err = r.deps.Ledger.Missing(ctx, missing); err != nil || missing.Len() == 0 {
				return err
			}
		}
		name := token
		if n > 0 || missing.Len() < rows.Len() {
			name = fmt.Sprintf("%s rest %d", token, n)
		}
		if err := r.deps.Ledger.Insert(ctx, name, missing); err != nil || !b.Replay {
			return err
		}
	}
	return fmt.Errorf("%d rows of %s were sent %d times, and are not in the ledger", missing.Len(), token, restsMax)
}

// tokenOf names rows by their records. The time tells a topic from one that was
// made anew under its name, whose offsets begin at 0 again.
func tokenOf(b *stage.Block, rows ledger.Rows) string {
	first, last := rows.Origin(0), rows.Origin(rows.Len()-1)
	return fmt.Sprintf("%s/%d/%d-%d@%d", b.Topic, b.Part, first.Offset, last.Offset, first.AtMs)
}

// pieces cuts rows where one insert would become too large, between two records:
// the same rows are always cut alike.
func pieces(rows ledger.Rows) func(yield func(ledger.Rows) bool) {
	return func(yield func(ledger.Rows) bool) {
		from := 0
		for i := 1; i < rows.Len(); i++ {
			if i-from < ledger.MaxRows || rows.Origin(i).Offset == rows.Origin(i-1).Offset {
				continue
			}
			if !yield(rows.Slice(from, i)) {
				return
			}
			from = i
		}
		if from < rows.Len() {
			yield(rows.Slice(from, rows.Len()))
		}
	}
}
