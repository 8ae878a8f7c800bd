package ledger

import (
	"context"
	"fmt"
	"slices"
)

// span is what to look for of one partition: offsets, and times.
type span struct {
	first, last uint64
	from, until int64 // ms
}

// landed says which of the rows' records are there. It asks by ranges of offsets,
// which the minmax index answers in a few ms, and by time: a topic that was made
// anew has the offsets of the old one.
func (l *Ledger) landed(ctx context.Context, rows Rows) (map[Origin]bool, error) {
	spans := map[Origin]*span{} // by partition: an Origin without time and offset
	for i := range rows.Len() {
		o := rows.Origin(i)
		log := Origin{Region: o.Region, Topic: o.Topic, Part: o.Part}
		s := spans[log]
		if s == nil {
			s = &span{o.Offset, o.Offset, o.AtMs, o.AtMs}
			spans[log] = s
		}
		s.first, s.last = min(s.first, o.Offset), max(s.last, o.Offset)
		s.from, s.until = min(s.from, o.AtMs), max(s.until, o.AtMs)
	}
	there := map[Origin]bool{}
	for log, s := range spans {
		if err := l.look(ctx, rows, log, s, there); err != nil {
			return nil, err
		}
	}
	return there, nil
}

func (l *Ledger) look(ctx context.Context, rows Rows, log Origin, s *span, there map[Origin]bool) error {
	sql := fmt.Sprintf("SELECT DISTINCT toUnixTimestamp64Milli(at), koff FROM ledger.%s WHERE region = ? AND kpart = %d AND koff BETWEEN %d AND %d"+
		" AND at BETWEEN fromUnixTimestamp64Milli(%d) AND fromUnixTimestamp64Milli(%d)", rows.Table(), log.Part, s.first, s.last, s.from, s.until)
	args := []any{log.Region}
	if slices.Contains(rows.columns(), "topic") { // else all its rows are of one
		sql += " AND topic = ?"
		args = append(args, log.Topic)
	}
	found, err := l.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		o := log
		if err := found.Scan(&o.AtMs, &o.Offset); err != nil {
			return err
		}
		there[o] = true
	}
	return found.Err()
}
