// Package ledgertest has a ledger in memory, for simulations, and the suite that
// it and the real one pass.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// Fault is what becomes of one insert.
type Fault int

const (
	None   Fault = iota
	Lost         // an error, and nothing is there
	Ghost        // an error, and all is there
	Torn         // an error, and only the rows of the first day are there
	Hollow       // an error, and nothing is there but the token, as after a kill
)

// ErrFault is the weather's.
var ErrFault = errors.New("the ledger is ill")

// Fake is a ledger in memory. It remembers tokens until Forget, by table and day,
// as ClickHouse does by part.
type Fake struct {
	// Weather decides on each call; nil: all is well. Of Missing every Fault but
	// None is Lost.
	Weather func() Fault
	// Slow is how long a call takes: what answers at once hides bugs.
	Slow time.Duration

	mu     sync.Mutex
	tables map[string][]ledger.Rows
	tokens map[string]bool
}

// Insert is as the real one. Rows land half-way through the call, so that who is
// cut off while it waits leaves a ghost.
func (f *Fake) Insert(ctx context.Context, token string, rows ledger.Rows) error {
	fault := f.fault()
	if err := f.wait(ctx); err != nil {
		return err
	}
	if fault != Lost {
		f.land(token, rows, fault)
	}
	if err := f.wait(ctx); err != nil {
		return err
	}
	if fault != None {
		return fmt.Errorf("insert into %s: %w", rows.Table(), ErrFault)
	}
	return nil
}

func (f *Fake) land(token string, rows ledger.Rows, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tables == nil {
		f.tables, f.tokens = map[string][]ledger.Rows{}, map[string]bool{}
	}
	first := int64(-1)
	seen := map[int64]bool{}
	for i := range rows.Len() {
		day := dayOf(rows.Origin(i))
		if seen[day] {
			continue
		}
		seen[day] = true
		if first < 0 {
			first = day
		}
		if fault == Torn && day != first {
			continue
		}
		part := rows.Only(func(o ledger.Origin) bool { return dayOf(o) == day })
		name := token
		if name == "" {
			name = fmt.Sprintf("%#v", part)
		}
		name = fmt.Sprintf("%s %d %s", rows.Table(), day, name)
		if f.tokens[name] {
			continue
		}
		f.tokens[name] = true
		if fault != Hollow {
			f.tables[rows.Table()] = append(f.tables[rows.Table()], part)
		}
	}
}

func dayOf(o ledger.Origin) int64 { return o.AtMs / (24 * time.Hour).Milliseconds() }

// Missing is as the real one.
func (f *Fake) Missing(ctx context.Context, rows ledger.Rows) (ledger.Rows, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if f.fault() != None {
		return nil, fmt.Errorf("look into %s: %w", rows.Table(), ErrFault)
	}
	there := map[ledger.Origin]bool{}
	f.Each(rows.Table(), func(rows ledger.Rows, i int) { there[rows.Origin(i)] = true })
	return rows.Only(func(o ledger.Origin) bool { return !there[o] }), nil
}

// Each shows every row of a table: rows[i] of the type that the table has.
func (f *Fake) Each(table string, show func(rows ledger.Rows, i int)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rows := range f.tables[table] {
		for i := range rows.Len() {
			show(rows, i)
		}
	}
}

// Count says how many rows a table has.
func (f *Fake) Count(table string) (n int) {
	f.Each(table, func(ledger.Rows, int) { n++ })
	return n
}

// Forget forgets all tokens, as ClickHouse does after 100,000 inserts.
func (f *Fake) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

// Wipe forgets all, as a server does that lost its disk.
func (f *Fake) Wipe() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tables, f.tokens = nil, nil
}

func (f *Fake) fault() Fault {
	if f.Weather == nil {
		return None
	}
	return f.Weather()
}

// wait is half of a call.
func (f *Fake) wait(ctx context.Context) error {
	if f.Slow == 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.Slow / 2):
		return nil
	}
}
