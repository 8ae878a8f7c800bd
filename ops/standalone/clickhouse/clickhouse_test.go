package clickhouse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// Told to, the test binary is only a parent of an engine, to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ENGINE_PARENT"); dir != "" {
		e, err := clickhouse.Find(os.Getenv("ENGINE_CACHE"))
		if err == nil {
			if _, err = clickhouse.Start(context.Background(), clickhouse.Options{Engine: e, Dir: dir, Users: []clickhouse.User{clickhousetest.Writer}}); err == nil {
				fmt.Println("up")
				select {}
			}
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A crash first: the engine dies by kill -9, its parent dies by kill -9, and each
// time the next start finds the data, at the same address.
func TestDataOutlivesKills(t *testing.T) {
	o := clickhousetest.Options(t)
	s := clickhousetest.Start(t, o)
	first := s.HTTPAddr()
	ask(t, s, clickhousetest.Writer, "CREATE DATABASE ledger")
	ask(t, s, clickhousetest.Writer, "CREATE TABLE ledger.t (a UInt8) ENGINE = MergeTree ORDER BY a")
	ask(t, s, clickhousetest.Writer, "INSERT INTO ledger.t VALUES (7)")
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s.Wait() == nil {
		t.Error("a killed engine ended well")
	}

	killParent(t, o.Dir)
	o.Users = []clickhouse.User{clickhousetest.Writer}
	s = clickhousetest.Start(t, o) // waits for the orphan, which holds the folder until it is gone
	if got := ask(t, s, clickhousetest.Writer, "SELECT count() FROM system.merge_tree_settings WHERE name = 'auto_statistics_types' AND value != ''"); got != "0" {
		t.Error("each merge makes statistics that nobody asks")
	}
	if got := ask(t, s, clickhousetest.Writer, "SELECT a FROM ledger.t"); got != "7" {
		t.Errorf("the row came back as %q", got)
	}
	if s.HTTPAddr() != first {
		t.Errorf("moved from %s to %s", first, s.HTTPAddr())
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Error("stopped twice: ", err)
	}
}

// killParent starts an engine in dir under another process and kills that
// process, as the engine runs.
func killParent(t *testing.T, dir string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := fmt.Sprint(clickhousetest.Engine(t))
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "ENGINE_PARENT="+dir, "ENGINE_CACHE="+filepath.Dir(e[strings.LastIndex(e, " ")+1:]))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the other parent said %q", line)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestFolderInUseIsRefused(t *testing.T) {
	o := clickhousetest.Options(t)
	clickhousetest.Start(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := clickhouse.Start(ctx, o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second engine in one folder: %v", err)
	}
}

// The reader is for people and their tools. It must not change what they read,
// nor read what is not the ledger's.
func TestReaderOnlyReads(t *testing.T) {
	o := clickhousetest.Options(t)
	s := clickhousetest.Start(t, o)
	ask(t, s, clickhousetest.Writer, "CREATE DATABASE ledger")
	ask(t, s, clickhousetest.Writer, "CREATE TABLE ledger.t (a UInt8) ENGINE = MergeTree ORDER BY a")
	for _, q := range []string{
		"SELECT count() FROM ledger.t", "SELECT count() FROM system.parts", "SELECT 1 SETTINGS max_threads = 1",
		"SELECT name FROM system.tables WHERE database = 'ledger'",
	} {
		if got, err := try(s, clickhousetest.Reader, q); err != nil {
			t.Errorf("%s: %s, %v", q, got, err)
		}
	}
	for _, q := range []string{
		"INSERT INTO ledger.t VALUES (1)", "CREATE TABLE ledger.u (a UInt8) ENGINE = Memory", "DROP TABLE ledger.t", "ALTER TABLE ledger.t DELETE WHERE 1",
		"TRUNCATE TABLE ledger.t", "CREATE DATABASE x", "SELECT * FROM file('users.xml', 'RawBLOB')", "SELECT * FROM url('http://127.0.0.1:1/', 'RawBLOB')",
		"SYSTEM STOP MERGES ledger.t", "SYSTEM SHUTDOWN", "SYSTEM STOP LISTEN TCP", "SET readonly = 0", "SELECT 1 SETTINGS max_memory_usage_for_user = 0", "SELECT 1 SETTINGS max_execution_time = 9999",
		"CREATE USER x", "GRANT ALL ON *.* TO reader",
	} {
		if got, err := try(s, clickhousetest.Reader, q); err == nil {
			t.Errorf("the reader may do %s: %s", q, got)
		}
	}
	for _, q := range []string{"SELECT * FROM file('users.xml', 'RawBLOB')", "CREATE DATABASE x", "SYSTEM SHUTDOWN", "CREATE USER x"} {
		if _, err := try(s, clickhousetest.Writer, q); err == nil {
			t.Errorf("the writer may do %s", q)
		}
	}
	for _, u := range []clickhouse.User{{Name: "reader", Password: "wrong"}, {Name: "default"}, {Name: "nobody"}} {
		if got, err := try(s, u, "SELECT count() FROM ledger.t"); err == nil {
			t.Errorf("user %q reads: %s", u.Name, got)
		}
	}
}

func TestNamesThatWouldBreakTheConfig(t *testing.T) {
	for _, name := range []string{"", "default", "a b", "a><b", "Ä", "1a"} {
		if _, err := clickhouse.Start(t.Context(), clickhouse.Options{Dir: t.TempDir(), Users: []clickhouse.User{{Name: name}}}); err == nil {
			t.Errorf("user %q was taken", name)
		}
	}
}

// The parent may be gone before the engine is up: then it must not stay.
func TestEngineThatNobodyWantsGoes(t *testing.T) {
	o := clickhousetest.Options(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := clickhouse.Start(ctx, o); err == nil {
		_ = s.Stop()
		t.Fatal("started for nobody")
	}
	clickhousetest.Start(t, o)
}

// A start that fails says why, and leaves no child.
func TestStartSaysWhyItFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := clickhousetest.Options(t)
	o.HTTPPort = l.Addr().(*net.TCPAddr).Port
	if _, err := clickhouse.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken port: %v", err)
	}
	l.Close()
	o.TCPPort = o.HTTPPort
	if _, err := clickhouse.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("an engine that cannot listen: %v", err)
	}
}

func ask(t *testing.T, s *clickhouse.Server, u clickhouse.User, q string) string {
	t.Helper()
	got, err := try(s, u, q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return got
}

func try(s *clickhouse.Server, u clickhouse.User, q string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.HTTPAddr()+"/?"+url.Values{"user": {u.Name}, "password": {u.Password}}.Encode(), strings.NewReader(q))
	if err != nil {
		return "", err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(b)))
	}
	return strings.TrimSpace(string(b)), err
}
