package ledger_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// Told to, the test binary is a writer, to be killed.
func TestMain(m *testing.M) {
	if addr := os.Getenv("LEDGER_WRITER"); addr != "" {
		if err := write(addr, os.Getenv("LEDGER_STATE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, s *clickhouse.Server, u clickhouse.User, k ledger.Keep) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: u.Name, Password: u.Password, Keep: k})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// one is the single number that a query answers.
func one(t *testing.T, l *ledger.Ledger, sql string) string {
	t.Helper()
	a, err := l.Query(context.Background(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(a.Rows) != 1 || len(a.Rows[0]) != 1 {
		t.Fatalf("%s: %v", sql, a.Rows)
	}
	return fmt.Sprint(a.Rows[0][0])
}

func TestSuite(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	l := open(t, s, clickhousetest.Writer, ledger.Keep{})
	if err := l.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ledgertest.Run(t, l, func(table string) (n int) {
		fmt.Sscan(one(t, l, "SELECT count() FROM ledger."+table), &n)
		return n
	})
}
