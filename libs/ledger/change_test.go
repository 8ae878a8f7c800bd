package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// A password that is changed at the server and in its file is used by a program
// that runs; until both are changed it is refused, and says so.
func TestPasswordIsChangedUnderUs(t *testing.T) {
	o := clickhousetest.Options(t)
	s := clickhousetest.Start(t, o)
	var secret atomic.Value
	secret.Store(clickhousetest.Writer.Password)
	l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Writer.Name, Secret: func() (string, error) { return secret.Load().(string), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	insert := func(n int) error {
		return l.Insert(t.Context(), fmt.Sprint(n), ledgertest.Events("t", n, 1))
	}
	if err := insert(0); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := insert(1); err == nil {
		t.Error("inserted into a server that is stopped")
	}
	o.Users[0].Password = "another"
	clickhousetest.Start(t, o)
	if err := insert(1); err == nil || !strings.Contains(err.Error(), "password is incorrect") {
		t.Errorf("the old password: %v", err)
	}
	secret.Store("another")
	if err := insert(1); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if n := one(t, l, "SELECT count() FROM ledger.stage_event"); n != "2" {
		t.Errorf("%s rows, want 2", n)
	}
}

// Tables of a newer program have more columns: who does not know them goes on, at
// its start and while it runs. A migration may say that it is needed: then older
// programs write no more, and say why; they go on where it is taken back.
func TestNewerTables(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	old := open(t, s, clickhousetest.Writer, ledger.Keep{})
	exec := func(sql string) {
		t.Helper()
		if _, err := old.Query(context.Background(), sql); err != nil && !strings.Contains(err.Error(), "EOF") {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	n := 0
	both := func(want error) {
		t.Helper()
		old.Later()
		for _, l := range []*ledger.Ledger{old, open(t, s, clickhousetest.Writer, ledger.Keep{})} {
			n++
			if err := l.Insert(t.Context(), fmt.Sprint(n), ledgertest.Events("t", n, 1)); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			_, err := l.Missing(t.Context(), ledgertest.Events("t", n, 1))
			if !errors.Is(err, want) {
				t.Errorf("look: got %v, want %v", err, want)
			}
		}
	}
	if err := old.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec("ALTER TABLE ledger.stage_event ADD COLUMN mood LowCardinality(String)")
	exec("INSERT INTO ledger.migrations (name, sha256) VALUES ('0099_mood.sql', 'x')")
	both(nil)
	exec("INSERT INTO ledger.migrations (name) VALUES ('needs 0099_mood.sql')")
	both(ledger.ErrNewer)
	exec("ALTER TABLE ledger.migrations DELETE WHERE name LIKE 'needs%' SETTINGS mutations_sync = 2")
	exec("INSERT INTO ledger.migrations (name) VALUES ('needs 0001_places.sql')")
	both(nil)
	old.Later()
	exec("DROP DATABASE ledger SYNC")
	if err := old.Insert(t.Context(), "gone", ledgertest.Events("t", 0, 1)); err == nil {
		t.Error("rows went into a table that is gone")
	}
	if err := old.Insert(t.Context(), "gone", ledgertest.Events("t", 0, 1)); err != nil {
		t.Errorf("the repeat: %v", err)
	}
}
