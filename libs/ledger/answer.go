package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Answer is a table of values. A value is what JSON has, a time.Time in UTC, or
// something with a String method.
type Answer struct {
	Columns []string
	Rows    [][]any
	Cost    Cost
}

// Cost is what a question took of the server.
type Cost struct {
	Took        time.Duration `json:"took_ns"` // from question to last row, the way there included
	CPU         time.Duration `json:"cpu_ns"`  // of all the server's threads
	ReadRows    uint64        `json:"read_rows"`
	ReadBytes   uint64        `json:"read_bytes"`
	MemoryBytes int64         `json:"memory_bytes"` // at most, of this question alone
}

// answerMax bounds what an answer holds in memory. Who wants more asks ClickHouse
// itself, which streams.
const answerMax = 100_000

// Query answers one statement of SQL, with the rights of this ledger's user.
func (l *Ledger) Query(ctx context.Context, sql string) (Answer, error) {
	var cost Cost
	began := time.Now()
	rows, err := l.conn.Query(cost.counted(ctx), sql)
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
	a.Cost = cost
	a.Cost.Took = time.Since(began)
	return a, nil
}

// counted has the client add what the server reports to c, on a goroutine of its
// own that has ended when all rows are read: before that, c is not ours to look at.
func (c *Cost) counted(ctx context.Context) context.Context {
	return clickhouse.Context(ctx,
		clickhouse.WithProgress(func(p *clickhouse.Progress) {
			c.ReadRows += p.Rows
			c.ReadBytes += p.Bytes
		}),
		clickhouse.WithProfileEvents(func(all []clickhouse.ProfileEvent) {
			for _, e := range all {
				switch e.Name {
				case "MemoryTrackerPeakUsage":
					c.MemoryBytes = max(c.MemoryBytes, e.Value)
				case "UserTimeMicroseconds", "SystemTimeMicroseconds":
					c.CPU += time.Duration(e.Value) * time.Microsecond
				}
			}
		}))
}

// tidy makes of a value what a person reads: the epoch is no time, the bytes of a
// FixedString are a hash, and a Nullable is its value or nothing.
func tidy(v any, kind string) any {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
		if p.IsNil() {
			return nil
		}
		return tidy(p.Elem().Interface(), strings.TrimPrefix(kind, "Nullable("))
	}
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
