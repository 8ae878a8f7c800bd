package ledger

import (
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/holdfast-backup/holdfast/schemas"
)

// column is one column of a table whose rows are R. Blocks are filled column by
// column: row by row the client reflects on each value, which costs more than
// all else here.
type column[R any] struct {
	name string
	add  func(c driver.BatchColumn, rows []R) error
}

// of is a column of numbers, strings or byte slices. Times are in ms.
func of[R, V any](name string, get func(*R) V) column[R] {
	return column[R]{name, func(c driver.BatchColumn, rows []R) error {
		vs := make([]V, len(rows))
		for i := range rows {
			vs[i] = get(&rows[i])
		}
		return c.Append(vs)
	}}
}

func id[R any](name string, get func(*R) schemas.UUID) column[R] {
	return of(name, func(r *R) uuid.UUID { return uuid.UUID(get(r)) })
}

// word is a LowCardinality column. Neighbours mostly share a word, which is boxed
// once.
func word[R any](name string, get func(*R) string) column[R] {
	return column[R]{name, func(c driver.BatchColumn, rows []R) error {
		var last string
		boxed := any(last)
		for i := range rows {
			if w := get(&rows[i]); w != last {
				last, boxed = w, w
			}
			if err := c.AppendRow(boxed); err != nil {
				return err
			}
		}
		return nil
	}}
}
