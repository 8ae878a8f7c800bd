package ledger

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Keep is how long the ledger remembers. Whole days of a table are dropped at
// once, so a row may stay a day longer. 0: the default; less than a second counts
// as one.
type Keep struct {
	Places   time.Duration // default 7 days: 31M rows a day, 1.3 GB, at 1000 machines
	Events   time.Duration // of stages, one by one, and their troubles; default 14 days
	Minutes  time.Duration // of stages, by the minute; default 90 days
	Progress time.Duration // default 7 days
	Backups  time.Duration // default 5 years
}

func (k Keep) orDefault() Keep {
	return Keep{
		Places:   cmp.Or(k.Places, 7*day),
		Events:   cmp.Or(k.Events, 14*day),
		Minutes:  cmp.Or(k.Minutes, 90*day),
		Progress: cmp.Or(k.Progress, 7*day),
		Backups:  cmp.Or(k.Backups, 5*365*day),
	}
}

// setKeep changes a table's lifetime where it is another than the configured: a
// change makes the server look at every part.
func (l *Ledger) setKeep(ctx context.Context) error {
	for _, t := range []struct {
		table, column string
		keep          time.Duration
	}{
		{"chunk_log", "toDateTime(at)", l.keep.Places},
		{"stage_event", "toDateTime(at)", l.keep.Events},
		{"input_trouble", "toDateTime(at)", l.keep.Events},
		{"stage_minute", "minute", l.keep.Minutes},
		{"progress", "toDateTime(at)", l.keep.Progress},
		{"backup_state", "toDateTime(at)", l.keep.Backups},
		{"backup_end", "toDateTime(at)", l.keep.Backups},
	} {
		want := fmt.Sprintf("%s + toIntervalSecond(%d)", t.column, max(1, int64(t.keep/time.Second)))
		var made string
		if err := l.conn.QueryRow(ctx, "SELECT create_table_query FROM system.tables WHERE database = 'ledger' AND name = '"+t.table+"'").Scan(&made); err != nil {
			return fmt.Errorf("lifetime of ledger.%s: %w", t.table, err)
		}
		if strings.Contains(made, "TTL "+want+" ") {
			continue
		}
		if err := l.conn.Exec(ctx, "ALTER TABLE ledger."+t.table+" MODIFY TTL "+want); err != nil {
			return fmt.Errorf("lifetime of ledger.%s: %w", t.table, err)
		}
	}
	return nil
}
