package broker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

func start(t *testing.T, dir string) (*Broker, *client.Client) {
	t.Helper()
	b, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.Open("local", kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Ensure(t.Context(), client.OneMachine); err != nil {
		t.Fatal(err)
	}
	return b, cl
}

func rows(t *testing.T, cl *client.Client) map[string]string {
	t.Helper()
	got := map[string]string{}
	for rec, err := range cl.Read(context.Background(), topics.MachinesTended.Spec, 0) {
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(rec.Part, "/", string(rec.Key))
		delete(got, key)
		if rec.Value != nil {
			got[key] = string(rec.Value[:min(len(rec.Value), 8)])
		}
	}
	return got
}

// Goal: a roll loses no row, whenever it is killed. Method: a table of mostly
// old rows is rolled; then a crash is played after the file was made whole, before
// the topic is made anew and behind it, and the next roll must bring the rows back.
func TestRollKeepsLiveRows(t *testing.T) {
	for _, remade := range []bool{false, true} {
		t.Run(fmt.Sprint("remade=", remade), func(t *testing.T) { rollAfterCrash(t, remade) })
	}
}

func rollAfterCrash(t *testing.T, remade bool) {
	dir := t.TempDir()
	b, cl := start(t, dir)
	big := bytes.Repeat([]byte("x"), 900<<10)
	put := func(key string, v []byte, part int32) {
		if err := cl.Publish(t.Context(), topics.Event{Topic: topics.MachinesTended.Spec, Key: []byte(key), Value: v, Part: part}); err != nil {
			t.Fatal(err)
		}
	}
	for range 76 {
		put("churn", big, 1)
	}
	put("churn", []byte("last"), 1)
	put("steady", []byte("one"), 3)
	put("gone", []byte("two"), 2)
	put("gone", nil, 2)
	want := rows(t, cl)

	rolls := filepath.Join(dir, "rolls")
	if worth, err := save(t.Context(), cl, topics.MachinesTended.Spec, filepath.Join(t.TempDir(), "x"), 1); err != nil || worth {
		t.Fatalf("a table of live rows is rolled: %v %v", worth, err)
	}
	if err := os.MkdirAll(rolls, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(rolls, topics.MachinesTended.Name+".rows")
	if _, err := save(t.Context(), cl, topics.MachinesTended.Spec, file, b.Bytes("local.machines.tended")); err != nil {
		t.Fatal(err)
	}
	if remade {
		if err := cl.Remake(t.Context(), client.OneMachine, topics.MachinesTended.Spec); err != nil {
			t.Fatal(err)
		}
	}
	cl.Close()
	b.Close() // the crash

	b, cl = start(t, dir)
	defer func() { cl.Close(); b.Close() }()
	rolled, err := b.Roll(t.Context(), cl, "local", rolls)
	if err != nil || len(rolled) != 1 {
		t.Fatalf("rolled %v, %v", rolled, err)
	}
	if got := rows(t, cl); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after the roll %v, before %v", got, want)
	}
	if n := b.Bytes("local.machines.tended"); n > 1<<20 {
		t.Errorf("%d bytes are left after the roll", n)
	}
	if rolled, err := b.Roll(t.Context(), cl, "local", rolls); err != nil || len(rolled) != 0 {
		t.Errorf("rolled again: %v, %v", rolled, err)
	}
}

func TestOneBrokerAFolderAndItsPort(t *testing.T) {
	other, cl := start(t, t.TempDir()) // so that ours can't have the port that all want first
	cl.Close()
	dir := t.TempDir()
	b, cl := start(t, dir)
	cl.Close()
	other.Close()
	if _, err := Start(Options{Dir: dir}); err == nil {
		t.Fatal("two brokers share a folder")
	}
	addr := b.Addr()
	b.Close()
	b, cl = start(t, dir)
	defer b.Close()
	defer cl.Close()
	if b.Addr() != addr {
		t.Errorf("the address was %s and is %s after a restart", addr, b.Addr())
	}
}

// Two brokers that begin at once must not both find the same port free.
func TestAPortIsHeldFromItsChoice(t *testing.T) {
	first, err := listenOn(0)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(first.Addr().String())
	first.Close()
	seen := map[string]bool{}
	for range 3 { // houses whose last port was this one
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "port"), []byte(port), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := listen(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if seen[l.Addr().String()] {
			t.Errorf("%s is two brokers'", l.Addr())
		}
		seen[l.Addr().String()] = true
	}
}

// What is read is what was written, or an error: no length makes it take more
// memory than a row may have.
func FuzzReadRow(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01kv"))
	f.Add([]byte("\x00\x00\x00\x01\x00\x10\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readRow(bytes.NewReader(b))
		if err != nil {
			if len(b) >= 12 && errors.Is(err, io.ErrUnexpectedEOF) && (binary.BigEndian.Uint32(b[4:]) > 1<<20 || binary.BigEndian.Uint32(b[8:]) > 16<<20) {
				t.Errorf("a row of any length is begun: %v", err)
			}
			return
		}
		var back bytes.Buffer
		w := bufio.NewWriter(&back)
		writeRow(w, r)
		w.Flush()
		if !bytes.HasPrefix(b, back.Bytes()) {
			t.Errorf("read %x, written again it is %x", b, back.Bytes())
		}
	})
}
