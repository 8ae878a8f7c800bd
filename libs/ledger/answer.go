package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Answer is a table of values. A value is what JSON has, a time.Time in UTC, or
// something with a String method.
type Answer struct {
	Columns []string
	Rows    [][]any
}

// answerMax bounds what an answer holds in memory. Who wants more asks ClickHouse
// itself, which streams.
const answerMax = 100_000

// Query answers one statement of SQL, with the rights of this ledger's user.
func (l *Ledger) Query(ctx context.Context, sql string) (Answer, error) {
	rows, err := l.conn.Query(ctx, sql)
	if err != nil {
		return Answer{}, fmt.Errorf("ask ledger: %w", err)
	}
	defer rows.Close()
	a := Answer{Columns: rows.Columns()}
	types := rows.ColumnTypes()
	for rows.Next() {
		if len(a.Rows) == answerMax {
			return a, fmt.Errorf("ask ledger: the answer has more than %d rows", answerMax)
		}
		cells := make([]any, len(types))
		for i, t := range types {
			cells[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(cells...); err != nil {
			return a, fmt.Errorf("ask ledger: %w", err)
		}
		for i := range cells {
			cells[i] = tidy(reflect.ValueOf(cells[i]).Elem().Interface(), types[i].DatabaseTypeName())
		}
		a.Rows = append(a.Rows, cells)
	}
	if err := rows.Err(); err != nil {
		return a, fmt.Errorf("ask ledger: %w", err)
	}
	return a, nil
}

// tidy makes of a value what a person reads: the epoch is no time, and the bytes
// of a FixedString are a hash.
func tidy(v any, kind string) any {
	switch x := v.(type) {
	case time.Time:
		if x.UnixMilli() == 0 {
			return nil
		}
		return x.UTC()
	case string:
		if strings.HasPrefix(kind, "FixedString") {
			return hex.EncodeToString([]byte(x))
		}
	case fmt.Stringer:
		return x.String()
	}
	return v
}
