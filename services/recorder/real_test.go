package recorder

import (
	"context"
	"fmt"
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
			quick := Config{NewsWait: 20 * time.Millisecond, EventsWait: 50 * time.Millisecond}
			err = stage.Run(context.Background(), Stage(quick, Deps{Ledger: l, Vault: "v"}), stage.Env{Region: "local", Worker: "w", Kafka: stage.Connect(to)})
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	realKills = 2 // of the engine; the last one is also the recorder's, whose group waits 10 s for the dead
	realRuns  = 3 // places of a record
)

// The whole of it once with the real ledger: the recorder and the engine are
// killed while records come, and each record is there once in each table.
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
	var sent atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := byte(0); ; i++ {
			select {
			case <-stop:
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
			sent.Add(1)
		}
	}()
	began := time.Now()
	rec := child(t, b, s)
	for n := range realKills {
		wait(t, s, fmt.Sprintf("SELECT count() > %d FROM ledger.chunk_log", (n+1)*50*realRuns))
		t.Log("kill ", n, " after ", time.Since(began))
		last := n == realKills-1
		if last {
			_ = rec.Process.Kill()
			_ = rec.Wait()
		}
		syscall.Kill(s.PID(), syscall.SIGKILL)
		_ = s.Wait()
		s = clickhousetest.Start(t, o)
		if last {
			rec = child(t, b, s)
		}
	}
	t.Log("killed: ", time.Since(began))
	close(stop)
	<-stopped
	n := sent.Load()
	wait(t, s, fmt.Sprintf("SELECT (count(), uniqExact(kpart, koff, place)) = (%d, %d) FROM ledger.chunk_log", n*realRuns, n*realRuns))
	wait(t, s, fmt.Sprintf("SELECT (count(), uniqExact(kpart, koff)) = (%d, %d) FROM ledger.stage_event", n, n))
	wait(t, s, fmt.Sprintf("SELECT sum(records) = %d FROM ledger.stage_minute", n))
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

// wait until a question is answered with yes, for at most a minute.
func wait(t *testing.T, s *clickhouse.Server, sql string) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Addr: s.Addr(), User: clickhousetest.Reader.Name, Password: clickhousetest.Reader.Password})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		a, err := l.Query(t.Context(), sql)
		if err == nil && fmt.Sprint(a.Rows) == "[[1]]" {
			return
		}
		last = fmt.Sprint(a.Rows, err)
	}
	a, err := l.Query(t.Context(), strings.Replace(strings.Replace(sql, ") = (", "), (", 1), " = ", ", ", 1))
	t.Fatalf("%s: %s; %v %v", sql, last, a.Rows, err)
}
