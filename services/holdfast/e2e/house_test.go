package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/cli"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
	"github.com/holdfast-backup/holdfast/topics"
)

// patience is how long a test waits for the house before it calls it stuck. It
// ends no wait early: on an idle machine all of this takes seconds.
const patience = 3 * time.Minute

// atOnce houses run side by side: they mostly wait. Each takes up to 500 MB, most of
// that its ClickHouse, and on two cores a fourth makes the others no slower than
// patience bears, but saves nothing.
const atOnce = "3"

// memoryMost is what three houses need beside the disks that tests make up. The
// binary sets a limit of its own, and Go would let them have four times that.
const memoryMost = 2 << 30

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set(atOnce)
	}
	debug.SetMemoryLimit(memoryMost)
	var err error
	if built, err = os.MkdirTemp("", "holdfast-e2e-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(built)
	os.Exit(code)
}

// What each guess at a passphrase costs is for who attacks a vault, not for tests.
func init() { vault.WrapCostDefault = vault.WrapCost{Passes: 1, MemoryKiB: 1 << 10, Threads: 1} }

// under is a house that runs for one test.
type under struct {
	t      *testing.T
	data   string
	images string
	log    string
	lines  string // of the configuration, behind those that up writes
	run    house.RunFile
}

// start runs a house on these machines: a folder of files for each name.
func start(t *testing.T, machines map[string]map[string][]byte) *under {
	t.Helper()
	return startWith(t, machines, "")
}

// startWith adds lines to the configuration.
func startWith(t *testing.T, machines map[string]map[string][]byte, lines string) *under {
	t.Helper()
	u := lay(t, machines)
	u.lines = lines
	u.up(up.Options{})
	u.listed(len(machines))
	return u
}

// lay makes the folders of a house that does not run yet.
func lay(t *testing.T, machines map[string]map[string][]byte) *under {
	t.Helper()
	dir := t.TempDir()
	u := &under{t: t, data: filepath.Join(dir, "data"), images: filepath.Join(dir, "machines"), log: filepath.Join(dir, "log")}
	for name, files := range machines {
		u.must(os.MkdirAll(filepath.Join(u.images, name), 0o755))
		for file, b := range files {
			u.write(name, file, b)
		}
	}
	return u
}

// up runs the house until the test ends, or until it is stopped.
func (u *under) up(o up.Options) (stop func()) {
	u.t.Helper()
	log, err := os.Create(u.log)
	u.must(err)
	o = u.options(o)
	o.Say, o.Log = log, watch.Logger(log, slog.LevelInfo)
	if u.lines != "" {
		_, err := up.Configure(o)
		u.must(err)
		path := filepath.Join(u.data, "holdfast.yaml")
		b, err := os.ReadFile(path)
		u.must(err)
		u.must(os.WriteFile(path, append(b, "\n"+u.lines+"\n"...), 0o600))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan house.RunFile, 1), make(chan error, 1)
	o.Ready = func(r house.RunFile) { ready <- r }
	go func() { ended <- up.Up(ctx, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			u.t.Errorf("stop: %v", err)
		}
	})
	u.t.Cleanup(func() {
		stop()
		if u.t.Failed() {
			b, _ := os.ReadFile(u.log)
			u.t.Logf("the log ends:\n%s", b[max(0, len(b)-8<<10):])
		}
	})
	select {
	case u.run = <-ready:
	case err := <-ended:
		ended <- nil
		u.t.Fatalf("up: %v", err)
	case <-time.After(patience):
		u.t.Fatal("up is not ready")
	}
	return stop
}

// options are those of every house under test, where a test does not say others.
func (u *under) options(o up.Options) up.Options {
	o.Data, o.K, o.M = u.data, 2, 1
	if u.images != "" {
		o.Images = []string{u.images}
	}
	return o
}

// configure writes the configuration that up would, with changes.
func (u *under) configure(o up.Options, oldNew ...string) {
	u.t.Helper()
	_, err := up.Configure(u.options(o))
	u.must(err)
	file := filepath.Join(u.data, "holdfast.yaml")
	b, err := os.ReadFile(file)
	u.must(err)
	text := string(b)
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			u.t.Fatalf("the configuration has no %q:\n%s", oldNew[i], text)
		}
		text = strings.Replace(text, oldNew[i], oldNew[i+1], 1)
	}
	u.must(os.WriteFile(file, []byte(text), 0o600))
}

// listed waits until so many machines are known.
func (u *under) listed(n int) {
	u.t.Helper()
	u.until("the source to be listed", func() bool {
		out, _, code := u.holdfast("machines")
		return code == 0 && strings.Count(out, "\n") >= n
	})
}

func (u *under) write(machine, file string, b []byte) {
	path := filepath.Join(u.images, machine, file)
	u.must(os.MkdirAll(filepath.Dir(path), 0o755))
	u.must(os.WriteFile(path, b, 0o644))
}

func (u *under) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *under) until(what string, f func() bool) {
	u.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// holdfast is the command line.
func (u *under) holdfast(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = cli.Main(append(args, "--data", u.data), strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// done wants a command to succeed.
func (u *under) done(args ...string) string {
	u.t.Helper()
	out, errs, code := u.holdfast(args...)
	if code != 0 {
		u.t.Fatalf("holdfast %v: exit %d: %s%s", args, code, out, errs)
	}
	return out
}

// ends are the terminal events of a backup command that waited.
func (u *under) ends(args ...string) []schemas.BackupCompleted {
	u.t.Helper()
	out, errs, _ := u.holdfast(append([]string{"backup", "--wait", "-o", "json"}, args...)...)
	var end struct {
		Result struct{ Backups []schemas.BackupCompleted }
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, `{"result"`) {
			u.must(json.Unmarshal([]byte(line), &end))
			return end.Result.Backups
		}
	}
	u.t.Fatalf("backup %v: no result: %s%s", args, out, errs)
	return nil
}

func (u *under) kafka() *client.Client {
	u.t.Helper()
	cl, err := client.Open(u.run.Region, stage.Connect(u.run.Kafka...)...)
	u.must(err)
	u.t.Cleanup(cl.Close)
	return cl
}

// completions are the terminal events of a job that were published so far.
func (u *under) completions(cl *client.Client, job schemas.UUID) (all []schemas.BackupCompleted) {
	u.t.Helper()
	for rec, err := range cl.Read(u.t.Context(), topics.BackupsCompleted.Spec, 0) {
		u.must(err)
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		u.must(err)
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		u.must(err)
		if v.Job.ID == job {
			all = append(all, v)
		}
	}
	return all
}

// noise is n bytes that nothing compresses.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{seed}), b); err != nil {
		panic(err)
	}
	return b
}

func (u *under) same(path string, want []byte) {
	u.t.Helper()
	got, err := os.ReadFile(path)
	u.must(err)
	if !bytes.Equal(got, want) {
		u.t.Errorf("%s differs from what was backed up", path)
	}
}

func names(ends []schemas.BackupCompleted) string {
	var s []string
	for _, e := range ends {
		s = append(s, fmt.Sprint(e.Machine.Path(), " ", e.Status, " ", e.Reason))
	}
	return strings.Join(s, "; ")
}
