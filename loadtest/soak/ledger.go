package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// places are how many the ledger knows, and how many the vault's points have, by lease.
type places struct {
	ledger, vault map[string]int64
}

// distinct counts each place of a lease once: what is filed again after a crash
// comes again, in a run of another length.
const distinct = `SELECT toString(lease) AS lease, toString(uniqExact(file_no, p)) AS n FROM
(SELECT lease, file_no, arrayJoin(range(place, place + places)) AS p FROM ledger.chunk_log) GROUP BY lease`

// doubled are rows that were written more often than their record has them.
const doubled = `SELECT toString(kpart) AS kpart, toString(koff) AS koff, toString(count()) AS n FROM ledger.chunk_log
GROUP BY kpart, koff, file_no, place HAVING count() > 1 LIMIT 5`

// states are how the ledger says that backups ended.
const states = `SELECT toString(backup) AS backup, state FROM ledger.backups`

// unlike are backups of which the ledger heard two ends.
const unlike = `SELECT toString(backup) AS backup, toString(groupUniqArray(state)) AS n FROM ledger.backup_state
WHERE state IN ('completed', 'failed', 'refused', 'cancelled') GROUP BY backup HAVING uniqExact(state) > 1`

// ledger asks what it knows, now that it has caught up; nil: this house is blind.
func (w *world) ledger(ctx context.Context, l *life, completed map[schemas.UUID]schemas.BackupCompleted) (*places, error) {
	if l.run.Ledger == nil {
		if !w.blind {
			w.tally.fault(counted, "the house has no ledger; see %s", w.process.log)
		}
		return nil, nil
	}
	c := &places{ledger: map[string]int64{}, vault: map[string]int64{}}
	rows, err := w.sql(ctx, distinct)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if c.ledger[r["lease"]], err = strconv.ParseInt(r["n"], 10, 64); err != nil {
			return nil, err
		}
	}
	for _, q := range []struct{ sql, what string }{{doubled, "rows of one record twice"}, {unlike, "two ends of one backup"}} {
		if rows, err = w.sql(ctx, q.sql); err != nil {
			return nil, err
		}
		for _, r := range rows {
			w.tally.fault(counted, "%s: %v", q.what, r)
		}
	}
	if rows, err = w.sql(ctx, states); err != nil {
		return nil, err
	}
	state := map[string]string{}
	for _, r := range rows {
		state[r["backup"]] = r["state"]
	}
	for id := range completed {
		if s := state[id.String()]; s != "completed" {
			w.tally.fault(counted, "backup %s completed, and the ledger says %q", id, s)
		}
	}
	return c, nil
}

func (w *world) sql(ctx context.Context, sql string) ([]map[string]string, error) {
	out, err := w.process.holdfast(ctx, "ledger", "sql", sql, "-o", "json")
	if err != nil {
		return nil, err
	}
	var v struct{ Rows []map[string]string }
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return nil, fmt.Errorf("ledger: %w: %s", err, out)
	}
	return v.Rows, nil
}

// point counts the places of one point.
func (c *places) point(p *vault.Point) {
	lease := schemas.IDText(p.GetRun().GetLease())
	for _, f := range p.Files {
		grid := uint64(f.GridBytes)
		c.vault[lease] += int64((f.SizeBytes + grid - 1) / grid) // no file here is a stream
	}
}

// compare holds the two against each other, point for point. Attempts that came to
// nothing have places in the ledger alone.
func (c *places) compare(t *tally) {
	for _, lease := range slices.Sorted(maps.Keys(c.vault)) {
		t.Places += c.vault[lease]
		if c.ledger[lease] != c.vault[lease] {
			t.fault(counted, "lease %s: %d places in the ledger, %d in its point", lease, c.ledger[lease], c.vault[lease])
		}
	}
}
