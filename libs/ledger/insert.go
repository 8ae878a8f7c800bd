package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// insertMax bounds one insert. 20,000 rows take 40 ms; a server under merges more.
const insertMax = time.Minute

// MaxRows is the most that one Insert should carry, save that the rows of one
// record are never split: the client grows its columns by doubling, which makes
// 1.5 KB of garbage a row, 30 MB an insert. A record has up to 100,000 places; the
// server keeps a block of less than a million whole.
const MaxRows = 20_000

// Insert writes rows, durable against a kill of the server when it returns nil.
// An error says nothing: they may be there. Sent again under the same token the
// same rows are there once, and once in the views that the table feeds; the
// server remembers the last 100,000 inserts into a table, save that one which is
// killed as it takes a part may remember the token and not have the rows: ask
// Missing after an insert that is sent again. A token that named other rows before
// makes these vanish without an error. Without a token, rows
// that are equal to those of another insert vanish.
func (l *Ledger) Insert(ctx context.Context, token string, rows Rows) error {
	if rows.Len() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, insertMax)
	defer cancel()
	if err := l.ready(ctx); err != nil {
		return err
	}
	err := l.insert(ctx, token, rows)
	if err != nil {
		l.lost(err)
		return fmt.Errorf("insert %d rows into ledger.%s: %w", rows.Len(), rows.Table(), err)
	}
	return nil
}

func (l *Ledger) insert(ctx context.Context, token string, rows Rows) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": token, // empty: the hash of what is in it
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
	b, err := l.conn.PrepareBatch(ctx, "INSERT INTO ledger."+rows.Table()+" ("+strings.Join(rows.columns(), ", ")+")")
	if err != nil {
		return err
	}
	defer b.Close() // nothing after Send
	if err := rows.fill(b); err != nil {
		return err
	}
	return b.Send()
}

// Missing returns those rows whose record is not in the ledger yet. It is for
// rows that may have been sent long ago, by a process that is dead: a token may
// be forgotten, a row is not.
func (l *Ledger) Missing(ctx context.Context, rows Rows) (Rows, error) {
	if rows.Len() == 0 {
		return rows, nil
	}
	ctx, cancel := context.WithTimeout(ctx, insertMax)
	defer cancel()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	there, err := l.landed(ctx, rows)
	if err != nil {
		l.lost(err)
		return nil, fmt.Errorf("look for %d rows in ledger.%s: %w", rows.Len(), rows.Table(), err)
	}
	return rows.Only(func(o Origin) bool { return !there[o] }), nil
}
