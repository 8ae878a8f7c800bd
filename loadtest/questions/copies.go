package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A fleet whose backups are more than one a day is filled in once a day, and the
// server copies that: each copy is earlier by its share of a day, of other backups,
// and of other chunks and packs, save those that every backup has. It costs the
// client nothing, which is most of the cost.

// copied is where copies' offsets begin: those of the first are below.
const copied = 1 << 56

// copies says what to select for each column that is another in copy k.
func (f *fleet) copies(k int) map[string]string {
	id := func(column string) string {
		return fmt.Sprintf("reinterpretAsUUID(bitXor(reinterpretAsUInt128(%s), toUInt128(%d)))", column, uint64(k)<<40)
	}
	var names []string
	for n := range hot {
		names = append(names, fmt.Sprintf("unhex('%x')", f.name(chunk{kind: common, n: uint64(n)})))
	}
	shared := "chunk IN (" + strings.Join(names, ", ") + ") OR outcome = 'zero'"
	earlier := func(column string) string {
		return fmt.Sprintf("if(%[1]s = toDateTime64(0, 3, 'UTC'), %[1]s, %[1]s - toIntervalMillisecond(%[2]d))", column, int(day.Milliseconds())/f.Copies*k)
	}
	return map[string]string{
		"at": earlier("at"), "queued_at": earlier("queued_at"), "leased_at": earlier("leased_at"), "snapshot_at": earlier("snapshot_at"), "done_at": earlier("done_at"),
		"backup": id("backup"), "lease": id("lease"),
		"koff":    fmt.Sprintf("koff + %d", uint64(k)*copied),
		"pack":    "if(" + shared + ", pack, " + id("pack") + ")",
		"chunk":   fmt.Sprintf("if(%s, chunk, toFixedString(concat(reinterpretAsString(bitXor(reinterpretAsUInt64(substring(chunk, 1, 8)), %d)), substring(chunk, 9)), 32))", shared, uint64(k)<<20),
		"version": fmt.Sprintf("version - %d", int(day.Milliseconds())/f.Copies*k),
	}
}

// copiedTables are those whose rows belong to a backup.
var copiedTables = []string{"backup_state", "progress", "stage_event", "chunk_log"}

// multiply makes copy k of what is there of the last days.
func (f *fleet) multiply(ctx context.Context, e *engine, k int) error {
	for _, table := range copiedTables {
		if err := f.copy(ctx, e, table, k); err != nil {
			return err
		}
	}
	return nil
}

// original is where the rows that are copied lie beside: in the table itself they are
// soon merged with their copies, and each copy would read all of it.
func original(table string) string { return "ledger.original_" + table }

func (f *fleet) copy(ctx context.Context, e *engine, table string, k int) error {
	a, err := e.read.Query(ctx, "SELECT name FROM system.columns WHERE database = 'ledger' AND table = '"+table+"' AND default_kind = '' ORDER BY position")
	if err != nil {
		return err
	}
	if err := f.setAside(ctx, e, table); err != nil {
		return err
	}
	other := f.copies(k)
	var into, from []string
	for _, row := range a.Rows {
		name := row[0].(string)
		into = append(into, name)
		if expr, ok := other[name]; ok {
			name = expr
		}
		from = append(from, name)
	}
	return e.do(ctx, fmt.Sprintf("INSERT INTO ledger.%s (%s) SELECT %s FROM %s SETTINGS %s", table, strings.Join(into, ", "), strings.Join(from, ", "), original(table), bulk))
}

// bulk is how the server copies: in blocks that it can hold, and all that it is asked to.
const bulk = "max_threads = 2, max_insert_threads = 2, max_block_size = 65536, min_insert_block_size_rows = 262144, min_insert_block_size_bytes = 0, insert_deduplicate = 0"

func (f *fleet) setAside(ctx context.Context, e *engine, table string) error {
	a, err := e.read.Query(ctx, "SELECT count() FROM system.tables WHERE database = 'ledger' AND name = 'original_"+table+"'")
	if err != nil || a.Rows[0][0].(uint64) > 0 {
		return err
	}
	if err := e.do(ctx, "CREATE TABLE "+original(table)+" ENGINE = MergeTree ORDER BY koff AS SELECT * FROM ledger."+table+" LIMIT 0"); err != nil {
		return err
	}
	return e.do(ctx, fmt.Sprintf("INSERT INTO %s SELECT * FROM ledger.%s WHERE koff < %d AND at > fromUnixTimestamp64Milli(%d) SETTINGS %s",
		original(table), table, uint64(copied), f.Now.Add(-time.Duration(f.Days)*day).UnixMilli(), bulk))
}

// forget drops what was set aside.
func (f *fleet) forget(ctx context.Context, e *engine) error {
	for _, table := range copiedTables {
		if err := e.do(ctx, "DROP TABLE IF EXISTS "+original(table)+" SYNC"); err != nil {
			return err
		}
	}
	return nil
}

// do has the server do what a ledger never asks of it.
func (e *engine) do(ctx context.Context, sql string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.server.HTTPAddr(), strings.NewReader(sql))
	if err != nil {
		return err
	}
	req.SetBasicAuth(users[0].Name, users[0].Password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(io.LimitReader(res.Body, 1000)); res.StatusCode != http.StatusOK {
		return fmt.Errorf("%.60s …: %s", sql, text)
	}
	return nil
}
