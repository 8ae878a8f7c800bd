package recorder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/ops/standalone/broker"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Told to, the test binary is a recorder, to be killed.
func TestMain(m *testing.M) {
	if to := os.Getenv("RECORDER_KAFKA"); to != "" {
		l, err := ledger.Open(ledger.Config{Addr: os.Getenv("RECORDER_LEDGER"), User: clickhousetest.Writer.Name, Password: clickhousetest.Writer.Password})
		if err == nil {
			quick := Config{NewsWait: 20 * time.Millisecond, PlacesWait: 20 * time.Millisecond, EventsWait: 50 * time.Millisecond}
			err = stage.Run(context.Background(), Stage(quick, Deps{Ledger: &deaf{Sink: l}, Vault: "v"}), stage.Env{Region: "local", Worker: "w", Kafka: stage.Connect(to)})
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// deaf does not hear each ninth answer of a ledger: the rows are there, and come
// again. What a kill does by luck, it does surely.
type deaf struct {
	Sink
	calls atomic.Int64
}

func (d *deaf) Insert(ctx context.Context, token string, rows ledger.Rows) error {
	err := d.Sink.Insert(ctx, token, rows)
	if err == nil && d.calls.Add(1)%9 == 0 {
		err = errors.New("the answer was lost")
	}
	return err
}

const (
	realKills = 3 // of the engine; before the first, one of two recorders dies, whose rooms wait 10 s
	realRuns  = 3 // places of a record
)

// Goal: each record is in each table once, and in the sums by the minute once, with
// the real ledger. Method: two recorders that are deaf to some answers; the engine is
// killed at random moments while records come, and one of the recorders, too.
func TestKillsWithTheRealLedger(t *testing.T) {
	o := clickhousetest.Options(t)
	s := clickhousetest.Start(t, o)
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cl, err := client.Open("local", stage.Connect(b.Addr())...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Ensure(t.Context(), client.OneMachine); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	recs := []*exec.Cmd{child(t, b, s), child(t, b, s)}
	stop := publish(t, cl)
	for n := range realKills {
		wait(t, s, fmt.Sprintf("SELECT count() > %d FROM ledger.chunk_log", (n+1)*30*realRuns))
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // a kill has no right moment
		if n == 0 {
			_ = recs[0].Process.Kill()
			_ = recs[0].Wait()
		}
		syscall.Kill(s.PID(), syscall.SIGKILL)
		_ = s.Wait()
		s = clickhousetest.Start(t, o)
	}
	n := stop()
	t.Logf("%d records; killed for %v", n, time.Since(began))
	wait(t, s, fmt.Sprintf("SELECT (count(), uniqExact(kpart, koff, place)) = (%d, %d) FROM ledger.chunk_log", n*realRuns, n*realRuns))
	// What a slow machine makes the runner say of its own retries is there as well, of another topic and stage.
	wait(t, s, fmt.Sprintf("SELECT (count(), uniqExact(kpart, koff)) = (%d, %d) FROM ledger.stage_event WHERE topic = 'places.filed'", n, n))
	wait(t, s, fmt.Sprintf("SELECT sum(records) = %d FROM ledger.stage_minute WHERE stage = 'auditor'", n))
	wait(t, s, `SELECT count() = 0 FROM (SELECT minute, stage, sum(records) AS n FROM ledger.stage_minute GROUP BY minute, stage) AS m
		FULL JOIN (SELECT toStartOfMinute(at) AS minute, stage, count() AS n FROM ledger.stage_event GROUP BY minute, stage) AS e USING (minute, stage) WHERE m.n != e.n`)
	t.Log("all of it: ", time.Since(began))
}

// publish sends records until it is told to stop, and then says how many.
func publish(t *testing.T, cl *client.Client) (stop func() int64) {
	var sent int64
	stopped, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := byte(0); ; i++ {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			m := &schemas.PlacesFiled{Run: &schemas.Run{Backup: append(make([]byte, 15), i), Lease: make([]byte, 16)}}
			for k := range realRuns {
				m.Runs = append(m.Runs, &schemas.PlaceRun{First: uint64(k), Count: 1})
			}
			if err := cl.Publish(context.Background(), topics.PlacesFiled.Event(m.Run.Backup, m)); err != nil {
				t.Error(err)
				return
			}
			sent++
		}
	}()
	return func() int64 { close(end); <-stopped; return sent }
}

func child(t *testing.T, b *broker.Broker, s *clickhouse.Server) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "RECORDER_KAFKA="+b.Addr(), "RECORDER_LEDGER="+s.Addr())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// wait until a question is answered with yes: seconds where nothing else runs.
func wait(t *testing.T, s *clickhouse.Server, sql string) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Reader.Name, Password: clickhousetest.Reader.Password})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var last string
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		a, err := l.Query(t.Context(), sql)
		if err == nil && fmt.Sprint(a.Rows) == "[[1]]" {
			return
		}
		last = fmt.Sprint(a.Rows, err)
	}
	a, err := l.Query(t.Context(), strings.Replace(strings.Replace(sql, ") = (", "), (", 1), " = ", ", ", 1))
	t.Fatalf("%s: %s; %v %v", sql, last, a.Rows, err)
}
