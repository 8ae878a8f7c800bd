package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
	tables "github.com/holdfast-backup/holdfast/schemas/ledger"
)

func TestMigrations(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	l := open(t, s, clickhousetest.Writer, ledger.Keep{})
	exec := func(sql string) {
		t.Helper()
		if _, err := l.Query(context.Background(), sql); err != nil && !strings.Contains(err.Error(), "EOF") {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var all sync.WaitGroup
	for range 3 { // three processes start at once
		all.Go(func() {
			if err := open(t, s, clickhousetest.Writer, ledger.Keep{}).Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	files, err := tables.Files.ReadDir(".")
	if n := one(t, l, "SELECT count() FROM ledger.migrations FINAL"); err != nil || n != fmt.Sprint(len(files)) {
		t.Errorf("%s migrations are recorded, of %d: %v", n, len(files), err)
	}

	// A lifetime is a setting, changed at the next start and not touched at others.
	lifetime := func() string {
		return one(t, l, "SELECT extract(create_table_query, 'TTL (.*) SETTINGS') FROM system.tables WHERE database = 'ledger' AND name = 'chunk_log'")
	}
	if got := lifetime(); got != "toDateTime(at) + toIntervalSecond(604800)" {
		t.Errorf("places live for %q", got)
	}
	k := ledger.Keep{Places: 36 * time.Hour}
	for range 2 {
		if err := open(t, s, clickhousetest.Writer, k).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := lifetime(); got != "toDateTime(at) + toIntervalSecond(129600)" {
		t.Errorf("places live for %q", got)
	}
	if n := one(t, l, "SELECT count() FROM system.mutations WHERE database = 'ledger' AND table = 'chunk_log' AND is_done = 0 AND latest_fail_reason != ''"); n != "0" {
		t.Errorf("%s mutations have failed", n)
	}

	// A server that lost its tables gets them again from whoever writes next.
	if err := l.Insert(t.Context(), "1", ledgertest.Events("t", 0, 1)); err != nil {
		t.Fatal(err)
	}
	exec("DROP DATABASE ledger SYNC")
	if err := l.Insert(t.Context(), "1", ledgertest.Events("t", 0, 1)); err == nil {
		t.Error("rows went into a table that is gone")
	}
	if err := l.Insert(t.Context(), "1", ledgertest.Events("t", 0, 1)); err != nil {
		t.Error("the repeat: ", err)
	}

	exec("ALTER TABLE ledger.migrations UPDATE sha256 = 'x' WHERE name LIKE '0002%' SETTINGS mutations_sync = 2")
	if err := l.Migrate(t.Context()); !errors.Is(err, ledger.ErrChanged) || !strings.Contains(err.Error(), "0002") {
		t.Errorf("an edited file: %v", err)
	}
}

func TestReaderCannotWrite(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	w, r := open(t, s, clickhousetest.Writer, ledger.Keep{}), open(t, s, clickhousetest.Reader, ledger.Keep{})
	if err := r.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(t.Context(), "1", ledgertest.Events("t", 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Insert(t.Context(), "2", ledgertest.Events("t", 1, 1)); err == nil {
		t.Error("the reader wrote a row")
	}
	for _, sql := range []string{"DROP TABLE ledger.chunk_log", "ALTER TABLE ledger.stage_event DELETE WHERE 1", "CREATE VIEW ledger.x AS SELECT 1"} {
		if _, err := r.Query(t.Context(), sql); err == nil || strings.Contains(err.Error(), "EOF") {
			t.Errorf("the reader may do %s: %v", sql, err)
		}
	}
	for _, q := range ledger.Questions {
		var args []string
		for _, a := range q.Args {
			switch {
			case a.Default != "":
				args = append(args, a.Default)
			case a.Name == "chunk":
				args = append(args, strings.Repeat("0a", 32))
			default:
				args = append(args, "00000000-0000-8000-8000-000000000001")
			}
		}
		if _, err := r.Ask(t.Context(), q.Name, args...); err != nil {
			t.Errorf("%s: %v", q.Name, err)
		}
	}
	if n := one(t, r, "SELECT count() FROM ledger.stage_event"); n != "1" {
		t.Errorf("%s rows", n)
	}
}

// A server that is not there is an error each time, and no panic.
func TestNoServer(t *testing.T) {
	l, err := ledger.Open(ledger.Config{Addr: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Insert(t.Context(), "1", ledgertest.Events("t", 0, 1)); err == nil {
		t.Error("inserted into nothing")
	}
	if _, err := l.Missing(t.Context(), ledgertest.Events("t", 0, 1)); err == nil {
		t.Error("looked into nothing")
	}
}

// Days that are older than a table's lifetime go, the others stay.
func TestOldDaysGo(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	l := open(t, s, clickhousetest.Writer, ledger.Keep{Events: 5 * 24 * time.Hour})
	rows := ledgertest.Events("t", 0, 3)
	for i := range rows {
		rows[i].AtMs -= int64(i) * 4 * 24 * time.Hour.Milliseconds()
	}
	if err := l.Insert(t.Context(), "1", rows); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Query(t.Context(), "OPTIMIZE TABLE ledger.stage_event FINAL"); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Fatal(err)
	}
	if n := one(t, l, "SELECT count() FROM ledger.stage_event"); n != "2" {
		t.Errorf("%s rows are left, want 2", n)
	}
}
