package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/ledger/ledgertest"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

const (
	killRows  = 10_000
	killBlock = 250 // on average
	kills     = 4   // of the writer, each second one of the engine too
)

// The writer of the kill test: bounds are saved first, then the rows are sent
// under a token of the bounds, then the next offset is saved. What it finds saved
// it sends again to the letter.
func write(addr, state string) error {
	l, err := ledger.Open(ledger.Config{Addr: addr, User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
	if err != nil {
		return err
	}
	var first, last int
	if b, err := os.ReadFile(state); err == nil {
		fmt.Sscan(string(b), &first, &last)
	}
	save := func() error {
		if err := os.WriteFile(state+".new", fmt.Append(nil, first, " ", last), 0o600); err != nil {
			return err
		}
		return os.Rename(state+".new", state)
	}
	for first < killRows {
		if last <= first {
			last = min(first+1+rand.IntN(2*killBlock), killRows)
			if err := save(); err != nil {
				return err
			}
		}
		rows := ledgertest.Events("kill", first, last-first)
		for i := range rows {
			rows[i].AtMs -= int64(i%3) * 24 * time.Hour.Milliseconds() // each block becomes three parts
		}
		if err := l.Insert(context.Background(), fmt.Sprintf("kill %d-%d", first, last), rows); err != nil {
			return err
		}
		first, last = last, 0
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}

// No row is lost or doubled, nor a minute's sum wrong, when writer and engine are
// killed at any moment.
func TestKillsLoseAndDoubleNothing(t *testing.T) {
	o := clickhousetest.Options(t)
	s := clickhousetest.Start(t, o)
	l := open(t, s, clickhousetest.Writer, ledger.Keep{})
	if err := l.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	died := 0
	for n := 0; ; n++ {
		w := exec.Command(self)
		w.Env = append(os.Environ(), "LEDGER_WRITER="+s.Addr(), "LEDGER_STATE="+state)
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- w.Wait() }()
		life := time.Duration(50+rand.IntN(300)) * time.Millisecond
		if n >= kills {
			life = time.Minute
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal("writer: ", err)
			}
			t.Logf("the writer died %d times", died)
			checkKills(t, l)
			return
		case <-time.After(life):
		}
		died++
		if n%2 == 1 {
			syscall.Kill(s.PID(), syscall.SIGKILL)
			_ = s.Wait()
			_ = w.Process.Kill()
			<-ended
			s = clickhousetest.Start(t, o)
			continue
		}
		_ = w.Process.Kill()
		<-ended
	}
}

func checkKills(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	for sql, what := range map[string]string{
		"SELECT count() FROM ledger.stage_event":                    "rows",
		"SELECT uniqExact(koff) FROM ledger.stage_event":            "different rows",
		"SELECT sum(records) FROM ledger.stage_minute":              "rows by the minute",
		"SELECT sum(chunks) / 16 FROM ledger.stage_minute":          "rows' chunks by the minute",
		"SELECT max(koff) + 1 FROM ledger.stage_event":              "offsets",
		"SELECT sum(toInt64(wait_us) / 10) FROM ledger.stage_event": "rows' waits",
	} {
		if got := one(t, l, sql); got != fmt.Sprint(killRows) {
			t.Errorf("%s %s, want %d", got, what, killRows)
		}
	}
}
