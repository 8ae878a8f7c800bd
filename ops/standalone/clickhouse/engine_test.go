package clickhouse_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// binary stands for a clickhouse on PATH: it knows its version, listens where
// config.xml says, and ends on SIGTERM.
const binary = `#!%s
import http.server, re, socket, sys, threading
if sys.argv[2] == "--version":
    sys.exit(print("ClickHouse server version %s (official build)."))
text = open(sys.argv[2].split("=")[1]).read()
tcp, http_ = (int(re.search("<%%s_port>(\\d+)" %% p, text)[1]) for p in ("tcp", "http"))
native = socket.create_server(("127.0.0.1", tcp))
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", http_), H).serve_forever()
`

func onPath(t *testing.T, version string) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "clickhouse"), fmt.Appendf(nil, binary, python, version), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// The engine of PATH goes first. It has no stdin of ours to watch, yet it must
// stop with us and be seen when it dies.
func TestBinaryOnPath(t *testing.T) {
	onPath(t, "25.8.1.1")
	e, err := clickhouse.Find(t.TempDir())
	if err != nil || !strings.HasPrefix(e.String(), "ClickHouse 25.8.1.1 at ") {
		t.Fatalf("found %q, %v", e, err)
	}
	o := clickhouse.Options{Engine: e, Dir: t.TempDir(), Users: []clickhouse.User{clickhousetest.Writer}}
	for range 2 { // the second finds the folder free
		if err := clickhousetest.Start(t, o).Stop(); err != nil {
			t.Error(err)
		}
	}
	s := clickhousetest.Start(t, o)
	children, err := exec.Command("pgrep", "-f", "--", "--config-file="+o.Dir+"/config.xml").Output()
	if err != nil {
		t.Skip("no pgrep to find the engine with")
	}
	var pids []int
	for _, f := range strings.Fields(string(children)) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err == nil && pid != s.PID() {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 1 {
		t.Fatalf("engines: %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s.Wait() == nil {
		t.Error("a killed engine ended well")
	}
}

func TestOldBinaryIsPassedOver(t *testing.T) {
	onPath(t, "18.16.1")
	if e, err := clickhouse.Find(t.TempDir()); !errors.Is(err, clickhouse.ErrNone) {
		t.Errorf("found %q, %v", e, err)
	}
}

func TestFetchWithoutPython(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := clickhouse.Fetch(t.Context(), t.TempDir()); !errors.Is(err, clickhouse.ErrPython) {
		t.Errorf("got %v", err)
	}
}

// A pip that cannot reach anything leaves nothing that looks like an engine.
func TestFetchThatFailsLeavesNothing(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3")
	}
	dir := t.TempDir()
	t.Setenv("PIP_NO_INDEX", "1")
	if _, err := clickhouse.Fetch(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "chdb-core") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
