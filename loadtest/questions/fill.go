package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/libs/ledger"
)

// insert takes rows as a ledger does.
type insert func(ctx context.Context, token string, rows ledger.Rows) error

const (
	// writers is how many fill at once: two fill two cores.
	writers = 2
	// block is about how many rows one insert has. The recorder's have up to 20,000;
	// these are larger, because filling is not what is measured here.
	block = 50_000
)

// tries of an insert: a machine that was put to sleep finds its deadline passed.
const tries = 5

// again repeats what failed, under the same token: it is there once.
func again(to insert) insert {
	return func(ctx context.Context, token string, rows ledger.Rows) (err error) {
		for range tries {
			if err = to(ctx, token, rows); err == nil || ctx.Err() != nil {
				return err
			}
		}
		return err
	}
}

// fill writes all that happened to a fleet, the oldest first.
func (f *fleet) fill(ctx context.Context, to insert, say func(format string, args ...any)) error {
	for n, rows := range []ledger.Rows{f.found(f.Days), f.found(1), f.found(0), f.troubles(), f.gaps()} {
		if err := to(ctx, fmt.Sprint("fill ", rows.Table(), n), rows); err != nil {
			return err
		}
	}
	if err := f.turns(ctx, to); err != nil {
		return err
	}
	var done atomic.Int64
	last := time.Now()
	group := max(1, block/f.Rows)
	for d := f.Days - 1; d >= 0; d-- {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(writers)
		for m := f.Machines; m > 0 && ctx.Err() == nil; m -= group { // the last machine begins first
			g.Go(func() error { return f.group(ctx, to, max(0, m-group), m, d, &done) })
			if time.Since(last) > 10*time.Second {
				last = time.Now()
				say("%d places", done.Load())
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// turns of all backups: years of them are few beside the places of a week.
func (f *fleet) turns(ctx context.Context, to insert) error {
	var rows ledger.Turns
	for d := f.History - 1; d >= -1; d-- {
		for m := range f.Machines {
			if r := f.run(m, d); !r.begins.Add(-queueTime).After(f.Now) {
				rows = append(rows, r.turns()...)
			}
		}
		if len(rows) < ledger.MaxRows && d >= 0 {
			continue
		}
		if err := to(ctx, fmt.Sprint("fill turns ", d), rows); err != nil {
			return err
		}
		rows = rows[:0]
	}
	return nil
}

// group writes what a few machines did at about the same time of one day.
func (f *fleet) group(ctx context.Context, to insert, from, until, d int, done *atomic.Int64) error {
	var places ledger.Places
	var events ledger.Events
	var progress ledger.Progresses
	for m := from; m < until; m++ {
		r := f.run(m, d)
		places = append(places, r.rows()...)
		events = append(events, r.events()...)
		progress = append(progress, r.progress()...)
	}
	for _, rows := range []ledger.Rows{places, events, progress} {
		if err := to(ctx, fmt.Sprintf("fill %d %d-%d", d, from, until), rows); err != nil {
			return err
		}
	}
	done.Add(int64(len(places)))
	return nil
}
