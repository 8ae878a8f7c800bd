package ledger_test

import (
	"testing"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// An answer has values and no pointers to them, and says what it took of the server.
func TestAnswer(t *testing.T) {
	l := open(t, clickhousetest.Start(t, clickhousetest.Options(t)), clickhousetest.Writer, ledger.Keep{})
	a, err := l.Query(t.Context(), `SELECT toNullable(toUInt64(7)) AS n, NULL, toNullable(toDateTime64(0, 3, 'UTC')), toNullable('x'), sum(sipHash64(number)) > 0
		FROM numbers(3000000) SETTINGS max_threads = 1`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []any{uint64(7), nil, nil, "x", uint8(1)} {
		if got := a.Rows[0][i]; got != want {
			t.Errorf("value %d is %v (%T), want %v", i, got, got, want)
		}
	}
	if c := a.Cost; c.ReadRows != 3_000_000 || c.CPU <= 0 || c.Took <= 0 || c.MemoryBytes <= 0 {
		t.Errorf("it says it cost %+v", c)
	}
}
