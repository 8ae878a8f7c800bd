// Package clickhousetest gives tests a real ClickHouse.
package clickhousetest

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse"
)

// The users of every test server.
var (
	Writer = clickhouse.User{Name: "writer", Password: "w<&'\"w"}
	Reader = clickhouse.User{Name: "reader", Password: "r r", Reader: true}
)

const fetchMax = 10 * time.Minute

// Engine returns the engine, which is fetched once into HOLDFAST_CACHE (default
// ~/.cache/holdfast). Without python3 the test is skipped, in one line.
func Engine(t testing.TB) clickhouse.Engine {
	t.Helper()
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchMax)
	defer cancel()
	e, err := clickhouse.Fetch(ctx, cmp.Or(os.Getenv("HOLDFAST_CACHE"), filepath.Join(home, "holdfast")))
	if errors.Is(err, clickhouse.ErrPython) {
		t.Skip("no ClickHouse: ", err)
	}
	if err != nil {
		t.Fatal("no ClickHouse for this test: ", err)
	}
	return e
}

// Options are those of a server in a folder of the test's own.
func Options(t testing.TB) clickhouse.Options {
	return clickhouse.Options{Engine: Engine(t), Dir: t.TempDir(), Users: []clickhouse.User{Writer, Reader}}
}

// Start runs a server until the test ends. Options of a server that was killed
// start it again, at the same place and address.
func Start(t testing.TB, o clickhouse.Options) *clickhouse.Server {
	t.Helper()
	s, err := clickhouse.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() }) // a test may have killed it
	return s
}
