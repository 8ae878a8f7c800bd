package ledger

import (
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Rows are rows of one table: Places, Events, Turns, Progresses, Gaps, Troubles
// or Founds.
type Rows interface {
	Table() string // without the database
	Len() int
	Origin(i int) Origin
	// Only returns the rows whose origin keep says yes to.
	Only(keep func(Origin) bool) Rows
	// Slice returns rows i to j, j not included.
	Slice(i, j int) Rows

	columns() []string
	fill(b driver.Batch) error
}

type (
	Places     []Place
	Events     []Event
	Turns      []Turn
	Progresses []Progress
	Gaps       []Gap
	Troubles   []Trouble
	Founds     []Found
)

func (Places) Table() string     { return "chunk_log" }
func (Events) Table() string     { return "stage_event" }
func (Turns) Table() string      { return "backup_state" }
func (Progresses) Table() string { return "progress" }
func (Gaps) Table() string       { return "gap" }
func (Troubles) Table() string   { return "input_trouble" }
func (Founds) Table() string     { return "machine" }

func (r Places) Len() int     { return len(r) }
func (r Events) Len() int     { return len(r) }
func (r Turns) Len() int      { return len(r) }
func (r Progresses) Len() int { return len(r) }
func (r Gaps) Len() int       { return len(r) }
func (r Troubles) Len() int   { return len(r) }
func (r Founds) Len() int     { return len(r) }

func (r Places) Origin(i int) Origin     { return r[i].origin() }
func (r Events) Origin(i int) Origin     { return r[i].origin() }
func (r Turns) Origin(i int) Origin      { return r[i].origin() }
func (r Progresses) Origin(i int) Origin { return r[i].origin() }
func (r Gaps) Origin(i int) Origin       { return r[i].origin() }
func (r Troubles) Origin(i int) Origin   { return r[i].origin() }
func (r Founds) Origin(i int) Origin     { return r[i].origin() }

func (r Places) Slice(i, j int) Rows     { return r[i:j] }
func (r Events) Slice(i, j int) Rows     { return r[i:j] }
func (r Turns) Slice(i, j int) Rows      { return r[i:j] }
func (r Progresses) Slice(i, j int) Rows { return r[i:j] }
func (r Gaps) Slice(i, j int) Rows       { return r[i:j] }
func (r Troubles) Slice(i, j int) Rows   { return r[i:j] }
func (r Founds) Slice(i, j int) Rows     { return r[i:j] }

func (r Places) Only(keep func(Origin) bool) Rows     { return only(r, keep) }
func (r Events) Only(keep func(Origin) bool) Rows     { return only(r, keep) }
func (r Turns) Only(keep func(Origin) bool) Rows      { return only(r, keep) }
func (r Progresses) Only(keep func(Origin) bool) Rows { return only(r, keep) }
func (r Gaps) Only(keep func(Origin) bool) Rows       { return only(r, keep) }
func (r Troubles) Only(keep func(Origin) bool) Rows   { return only(r, keep) }
func (r Founds) Only(keep func(Origin) bool) Rows     { return only(r, keep) }

func (Places) columns() []string     { return names(placeColumns) }
func (Events) columns() []string     { return names(eventColumns) }
func (Turns) columns() []string      { return names(turnColumns) }
func (Progresses) columns() []string { return names(progressColumns) }
func (Gaps) columns() []string       { return names(gapColumns) }
func (Troubles) columns() []string   { return names(troubleColumns) }
func (Founds) columns() []string     { return names(foundColumns) }

func (r Places) fill(b driver.Batch) error     { return fill(b, placeColumns, r) }
func (r Events) fill(b driver.Batch) error     { return fill(b, eventColumns, r) }
func (r Turns) fill(b driver.Batch) error      { return fill(b, turnColumns, r) }
func (r Progresses) fill(b driver.Batch) error { return fill(b, progressColumns, r) }
func (r Gaps) fill(b driver.Batch) error       { return fill(b, gapColumns, r) }
func (r Troubles) fill(b driver.Batch) error   { return fill(b, troubleColumns, r) }
func (r Founds) fill(b driver.Batch) error     { return fill(b, foundColumns, r) }

func only[R ~[]E, E interface{ origin() Origin }](rows R, keep func(Origin) bool) R {
	return slices.DeleteFunc(slices.Clone(rows), func(e E) bool { return !keep(e.origin()) })
}

func (o Origin) origin() Origin { return o }

func names[R any](cols []column[R]) []string {
	all := make([]string, len(cols))
	for i, c := range cols {
		all[i] = c.name
	}
	return all
}

func fill[R any](b driver.Batch, cols []column[R], rows []R) error {
	for i, c := range cols {
		if err := c.add(b.Column(i), rows); err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return nil
}
