package main

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/schemas"
)

// book is all that was told of a fleet, on slices: what a question answers is
// counted here in the simplest way there is.
type book struct {
	mu     sync.Mutex
	places ledger.Places
	events ledger.Events
	turns  ledger.Turns
	steps  ledger.Progresses
	founds ledger.Founds
	hitch  ledger.Troubles
}

// row is values, as they print.
func row(values ...any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, "|")
}

func (b *book) note(rows ledger.Rows) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch rows := rows.(type) {
	case ledger.Places:
		b.places = append(b.places, rows...)
	case ledger.Events:
		b.events = append(b.events, rows...)
	case ledger.Turns:
		b.turns = append(b.turns, rows...)
	case ledger.Progresses:
		b.steps = append(b.steps, rows...)
	case ledger.Founds:
		b.founds = append(b.founds, rows...)
	case ledger.Troubles:
		b.hitch = append(b.hitch, rows...)
	}
}

// after says yes to what came in the last while.
func after(at int64, d time.Duration) bool { return at > time.Now().Add(-d).UnixMilli() }

// stands is the last turn of each backup.
func (b *book) stands() map[schemas.UUID]ledger.Turn {
	all := map[schemas.UUID]ledger.Turn{}
	for _, t := range b.turns {
		if t.Version >= all[t.Attempt.Backup].Version {
			all[t.Attempt.Backup] = t
		}
	}
	return all
}

// last is the last turn of each machine, and good its last good snapshot.
func (b *book) last() (last map[string]ledger.Turn, good map[string]int64) {
	last, good = map[string]ledger.Turn{}, map[string]int64{}
	for _, t := range b.turns {
		if l := last[t.Machine.ID]; cmp.Or(cmp.Compare(t.AtMs, l.AtMs), cmp.Compare(t.Version, l.Version)) > 0 {
			last[t.Machine.ID] = t
		}
		if t.State == ledger.Completed {
			good[t.Machine.ID] = max(good[t.Machine.ID], t.SnapshotMs)
		}
	}
	return last, good
}

var stateNames = map[ledger.State]string{ledger.Queued: "queued", ledger.Running: "running", ledger.Completed: "completed", ledger.Failed: "failed"}

func (b *book) machine(id string, limit int) (rows []string) {
	_, good := b.last()
	var all ledger.Turns
	for _, t := range b.stands() {
		if t.Machine.ID == id {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(x, y ledger.Turn) int { return cmp.Compare(y.AtMs, x.AtMs) })
	for _, t := range all[:min(limit, len(all))] {
		filed := uint64(0)
		for _, s := range b.steps {
			if s.Attempt.Backup == t.Attempt.Backup && t.State == ledger.Running {
				filed = max(filed, s.ReadBytes)
			}
		}
		rows = append(rows, row(t.Attempt.Backup, stateNames[t.State], t.WaitingFor, t.Reason, filed, t.Totals.Size, good[id]))
	}
	return rows
}

func (b *book) waiting() (rows []string) {
	n := map[string]int{}
	last, _ := b.last()
	for _, t := range last {
		if t.State == ledger.Queued || t.State == ledger.Running {
			n[row(t.Region, t.Machine.Source, stateNames[t.State], t.WaitingFor)]++
		}
	}
	for of, n := range n {
		rows = append(rows, row(of, n))
	}
	return rows
}

func (b *book) lacks(d time.Duration) (rows []string) {
	last, good := b.last()
	for _, f := range b.founds {
		one := row(f.Machine.Name, stateNames[last[f.Machine.ID].State], last[f.Machine.ID].Reason)
		if !f.Gone && !after(good[f.Machine.ID], d) && !slices.Contains(rows, one) {
			rows = append(rows, one)
		}
	}
	return rows
}

var differ = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-f]{16,}|[0-9]+`)

func (b *book) failures(d time.Duration) (rows []string) {
	n := map[string]int{}
	for _, t := range b.stands() {
		if t.State == ledger.Failed && after(t.AtMs, d) {
			n[row(t.Region, t.Machine.Source, "failed", differ.ReplaceAllString(strings.ReplaceAll(t.Reason, t.Machine.Name, "<machine>"), "#"))]++
		}
	}
	for of, n := range n {
		rows = append(rows, row(of, n))
	}
	return rows
}

// slowest of those that have ended; rows is what is told of each.
func (b *book) slowest(d time.Duration, limit int) (rows []string) {
	var all ledger.Turns
	for _, t := range b.stands() {
		if (t.State == ledger.Completed || t.State == ledger.Failed) && after(t.AtMs, d) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(x, y ledger.Turn) int { return cmp.Compare(y.DoneMs-y.LeasedMs, x.DoneMs-x.LeasedMs) })
	for _, t := range all[:min(limit, len(all))] {
		rows = append(rows, row(t.Machine.Name, t.Attempt.Backup, stateNames[t.State], t.Totals.Read, t.WindowKept))
	}
	return rows
}

func (b *book) throughput(d time.Duration) (rows []string) {
	type gives struct {
		filed, running, completed, failed, read uint64
	}
	all := map[string]*gives{}
	of := func(t ledger.Turn) *gives {
		k := row(t.Region, t.Machine.Source)
		if all[k] == nil {
			all[k] = &gives{}
		}
		return all[k]
	}
	for id, t := range b.stands() {
		var first, last uint64
		told := false
		for _, s := range b.steps {
			if s.Attempt.Backup == id && after(s.AtMs, d) {
				if !told || s.ReadBytes < first {
					first = s.ReadBytes
				}
				told, last = true, max(last, s.ReadBytes)
			}
		}
		if told {
			of(t).filed += last - first
		}
		switch {
		case t.State == ledger.Running:
			of(t).running++
		case t.State == ledger.Completed && after(t.AtMs, d):
			of(t).completed, of(t).read = of(t).completed+1, of(t).read+t.Totals.Read
		case t.State == ledger.Failed && after(t.AtMs, d):
			of(t).failed++
		}
	}
	for k, g := range all {
		rows = append(rows, row(k, g.filed, g.running, g.completed, g.failed, g.read))
	}
	return rows
}

func (b *book) bottleneck(d time.Duration) (rows []string) {
	type load struct{ records, errors, bytes, wait uint64 }
	type stage struct{ region, name string }
	all := map[stage]load{}
	for _, e := range b.events {
		if after(e.AtMs, d) {
			k := stage{e.Region, e.Stage}
			l := all[k]
			l.records, l.bytes, l.wait = l.records+1, l.bytes+e.Bytes, l.wait+e.WaitUs
			if e.Error != "" {
				l.errors++
			}
			all[k] = l
		}
	}
	for k, l := range all {
		rows = append(rows, row(k.region, k.name, l.records, l.errors, l.bytes, fmt.Sprintf("%.1f", float64(l.wait)/float64(l.records)/1e3)))
	}
	return rows
}

func (b *book) users(has func(ledger.Place) bool) (rows []string) {
	for _, p := range b.places {
		if one := row(p.Region, p.Machine.Name, p.Attempt.Backup, p.File); has(p) && !slices.Contains(rows, one) {
			rows = append(rows, one)
		}
	}
	return rows
}

func (b *book) outcomes(backup schemas.UUID) []string {
	var n [5]uint64
	for _, p := range b.places {
		if p.Attempt.Backup == backup {
			n[p.Outcome] += p.Places
		}
	}
	return []string{row(n[ledger.Fresh], n[ledger.Known], n[ledger.Zero], n[ledger.Inherited])}
}

func (b *book) refusals(d time.Duration) (rows []string) {
	for _, t := range b.hitch {
		if t.Outcome == ledger.HitchRefused && after(t.AtMs, d) {
			rows = append(rows, row(t.Region, t.Stage, t.Reason))
		}
	}
	return rows
}

// cells of an answer, joined, row by row.
func cells(t *testing.T, l *ledger.Ledger, columns, name string, args ...string) (rows []string) {
	t.Helper()
	a, err := l.Ask(context.Background(), name, args...)
	if err != nil {
		t.Fatal(name, args, err)
	}
	for _, r := range a.Rows {
		var one []any
		for _, c := range strings.Fields(columns) {
			v := r[slices.Index(a.Columns, c)]
			switch x := v.(type) {
			case time.Time:
				v = x.UnixMilli()
			case nil:
				v = int64(0)
			case float64:
				v = fmt.Sprintf("%.1f", x)
			}
			one = append(one, v)
		}
		rows = append(rows, row(one...))
	}
	return rows
}

// same wants two answers to be equal, whatever their order.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 && what != "" && !strings.HasSuffix(what, "none") {
		t.Errorf("%s: the fleet has nothing to ask for", what)
	}
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
