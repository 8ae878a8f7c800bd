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
// server remembers the last 100,000 inserts into a table. A token that named
// other rows before makes these vanish without an error. Without a token, rows
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
	b, err := l.conn.PrepareBatch(ctx, rows.insert())
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

// landed asks by ranges of offsets, which the minmax index answers in a few ms,
// and by time: a topic that was made anew has the offsets of the old one.
func (l *Ledger) landed(ctx context.Context, rows Rows) (map[Origin]bool, error) {
	type log struct {
		region, topic string
		part          uint16
	}
	type span struct {
		first, last uint64
		from, until int64
	}
	spans := map[log]*span{}
	for i := range rows.Len() {
		o := rows.Origin(i)
		s := spans[log{o.Region, o.Topic, o.Part}]
		if s == nil {
			s = &span{o.Offset, o.Offset, o.AtMs, o.AtMs}
			spans[log{o.Region, o.Topic, o.Part}] = s
		}
		s.first, s.last = min(s.first, o.Offset), max(s.last, o.Offset)
		s.from, s.until = min(s.from, o.AtMs), max(s.until, o.AtMs)
	}
	there := map[Origin]bool{}
	for k, s := range spans {
		var topic string
		if strings.Contains(rows.insert(), " topic, ") {
			topic = " AND topic = '" + k.topic + "'"
		}
		q := fmt.Sprintf("SELECT DISTINCT toUnixTimestamp64Milli(at), koff FROM ledger.%s WHERE region = ? AND kpart = %d AND koff BETWEEN %d AND %d AND at BETWEEN fromUnixTimestamp64Milli(%d) AND fromUnixTimestamp64Milli(%d)%s",
			rows.Table(), k.part, s.first, s.last, s.from, s.until, topic)
		found, err := l.conn.Query(ctx, q, k.region)
		if err != nil {
			return nil, err
		}
		defer found.Close()
		for found.Next() {
			o := Origin{Region: k.region, Topic: k.topic, Part: k.part}
			if err := found.Scan(&o.AtMs, &o.Offset); err != nil {
				return nil, err
			}
			there[o] = true
		}
		if err := found.Err(); err != nil {
			return nil, err
		}
	}
	return there, nil
}
