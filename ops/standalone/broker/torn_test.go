package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/torntest"
	"github.com/holdfast-backup/holdfast/topics"
)

func someRows() (all []row) {
	for i := range 40 {
		all = append(all, row{int32(i % 4), fmt.Append(nil, "key", i), bytes.Repeat([]byte{byte(i)}, 50)})
	}
	return all
}

func written(t *testing.T) (path string, b []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "t.rows")
	err := writeRows(path, func(yield func(row) bool) {
		for _, r := range someRows() {
			yield(r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return path, b
}

func TestRowsComeBack(t *testing.T) {
	path, _ := written(t)
	var got []row
	for r, err := range readRows(path) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if fmt.Sprint(got) != fmt.Sprint(someRows()) {
		t.Errorf("%d rows came back otherwise than they were written", len(got))
	}
}

// A file of rows that a crash or a disk harmed, even between two rows, is refused by
// name, before the log of its topic goes: with the file away the rows are there.
func TestATornRollLosesNoTable(t *testing.T) {
	b, cl := start(t, t.TempDir())
	defer func() { cl.Close(); b.Close() }()
	if err := cl.Publish(t.Context(), topics.Event{Topic: topics.MachinesTended.Spec, Key: []byte("k"), Value: []byte("v"), Part: 1}); err != nil {
		t.Fatal(err)
	}
	want := rows(t, cl)
	_, whole := written(t)
	dir := t.TempDir()
	file := filepath.Join(dir, topics.MachinesTended.Name+".rows")
	harm := func(how string, harmed []byte) {
		if err := os.WriteFile(file, harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Roll(t.Context(), cl, "local", dir); !errors.Is(err, errTorn) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", how, err)
		}
		if got := rows(t, cl); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the table holds %v, and held %v", how, got, want)
		}
	}
	for how, harmed := range torntest.Ways(whole) {
		harm(how, harmed)
	}
	harm("cut between two rows", whole[:len(rollMagic)+12+4+50])
	harm("without its magic, as the first program wrote it", whole[len(rollMagic):])
}

// Whatever a crash did to a file of the broker, it says so in its log, or does not
// start and names the file; what is read is what was written, in order, without what
// is lost, and never other bytes. One case is told by others: of a segment without
// a byte nothing is left to be cut off, and who committed beyond it counts the loss.
func TestATornLogLosesItsEndOnly(t *testing.T) {
	dir := t.TempDir()
	b, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.Open("local", kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Remake(t.Context(), client.OneMachine, topics.BackupsCompleted.Spec); err != nil {
		t.Fatal(err)
	}
	const n = 30
	for i := range n {
		e := topics.BackupsCompleted.Event(fmt.Append(nil, "k"), fmt.Appendf(nil, "value %d", i), nil)
		if err := cl.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	cl.Close()
	b.Close()
	other := func(name string) bool {
		return !strings.HasPrefix(name, "partitions/") && name != "topics.json" && name != "meta.json"
	}
	torntest.Each(t, filepath.Join(dir, "log"), torntest.Crashes, other, func(t *testing.T, torn, harmed string) {
		home := t.TempDir()
		if err := os.Rename(torn, filepath.Join(home, "log")); err != nil {
			t.Fatal(err)
		}
		reread(t, home, harmed, n)
	})
}

func reread(t *testing.T, home, harmed string, n int) {
	var said bytes.Buffer
	b, err := Start(Options{Dir: home, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		if !strings.Contains(err.Error(), filepath.Base(harmed)) || !strings.Contains(err.Error(), home) {
			t.Errorf("what is torn is not named: %v", err)
		}
		return
	}
	defer b.Close()
	cl, err := client.Open("local", kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := 0
	for rec, err := range cl.Read(ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint("value ", got); rec.Offset != int64(got) || string(rec.Value) != want {
			t.Errorf("at %d: %q, want %q", rec.Offset, rec.Value, want)
		}
		got++
	}
	if empty := strings.HasSuffix(t.Name(), "cut_to_0"); got < n && !empty && !strings.Contains(said.String(), "truncating") {
		t.Errorf("%d of %d are read, and the log says %q", got, n, said.String())
	}
}
