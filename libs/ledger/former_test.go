package ledger_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// former is how many migrations the version had that came before machine_stand.
const former = 7

// Goal: a ledger of the former version answers the same questions after an update as
// one that was new, of what it had before, of what the former program writes beside
// the new one, and of what the new one writes. Method: rows before, an update by
// three processes at once, rows of both after; the other ledger has had them all anew.
func TestUpdateKeepsWhatThereWas(t *testing.T) {
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	old := open(t, s, clickhousetest.Writer, ledger.Keep{})
	if err := old.Former(t.Context(), former); err != nil {
		t.Fatal(err)
	}
	fill(t, old)
	updated := make(chan error)
	for range 3 {
		go func() { updated <- open(t, s, clickhousetest.Writer, ledger.Keep{}).Migrate(t.Context()) }()
	}
	for range 3 {
		if err := <-updated; err != nil {
			t.Fatal(err)
		}
	}
	later := func(l *ledger.Ledger) {
		more(t, l, "old", 1)
		more(t, open(t, s, clickhousetest.Writer, ledger.Keep{}), "new", 2)
	}
	later(old)
	got := answers(t, old)

	anew := clickhousetest.Start(t, clickhousetest.Options(t))
	s = anew
	l := open(t, anew, clickhousetest.Writer, ledger.Keep{})
	fill(t, l)
	later(l)
	want := answers(t, l)
	for ask := range want {
		if len(want[ask]) == 0 || !reflect.DeepEqual(got[ask], want[ask]) {
			t.Errorf("%s:\n got %v\nwant %v", ask, got[ask], want[ask])
		}
	}
	indexed(t, old)
}

// more is a machine that fails, and one chunk of it.
func more(t *testing.T, l *ledger.Ledger, who string, n byte) {
	t.Helper()
	m, at := machine(who), now-hour/2+int64(n)
	a := ledger.Attempt{Backup: [16]byte{40 + n}, No: 1}
	f := &ledger.Filed{Origin: origin("places.filed", 100+int(n), at), Machine: m, Attempt: a, File: "disk"}
	for i, rows := range []ledger.Rows{
		ledger.Turns{{Origin: origin("backups.judged", 100+int(n), at), Machine: m, Attempt: a, State: ledger.Failed, Reason: "no space", LeasedMs: at - 1000, DoneMs: at, Version: 9}},
		ledger.Places{{Filed: f, Places: 1, Chunk: [32]byte{1}, Outcome: ledger.Known}},
	} {
		if err := l.Insert(t.Context(), fmt.Sprint(who, i), rows); err != nil {
			t.Fatal(err)
		}
	}
}

// answers to all that an update changed, without what tells the time of asking.
func answers(t *testing.T, l *ledger.Ledger) map[string][][]any {
	t.Helper()
	all := map[string][][]any{}
	zero := "00000000-0000-0000-0000-000000000000"
	for _, sql := range []string{
		"SELECT machine, last_state, last_reason, heard_at FROM ledger.no_good_backup(hours = 24)",
		"SELECT machine, state, since FROM (SELECT longest AS machine, state, since FROM ledger.waiting)",
		"SELECT what, why, times, machines FROM ledger.failures(hours = 48)",
		"SELECT machine, backup, state, last_good FROM ledger.machine_backups(machine = 'vm b', limit = 5)",
		"SELECT machine, backup, state FROM ledger.slowest(hours = 48, limit = 10) WHERE state != 'running'",
		"SELECT source, running, completed, failed FROM ledger.throughput(minutes = 120)",
		"SELECT machine, backup FROM ledger.chunk_users(chunk = '01" + fmt.Sprintf("%062d", 0) + "', limit = 10) ORDER BY backup",
		"SELECT machine, backup FROM ledger.pack_users(pack = '" + zero + "', limit = 10) ORDER BY backup",
	} {
		a, err := l.Query(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		all[sql] = a.Rows
	}
	return all
}

// indexed waits until places of the former version have the new filters: minutes with
// a hundred million of them, moments with a few.
func indexed(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if one(t, l, "SELECT count() FROM system.mutations WHERE database = 'ledger' AND NOT is_done") == "0" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the filters are not made")
		}
	}
	if n := one(t, l, "SELECT uniqExact(command) FROM system.mutations WHERE database = 'ledger' AND table = 'chunk_log' AND command LIKE '%MATERIALIZE INDEX%'"); n != "3" {
		t.Errorf("%s filters were made for old places, want 3", n)
	}
}
