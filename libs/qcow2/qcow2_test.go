package qcow2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// qemu runs qemu-img, the judge.
func qemu(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not here: make deps installs it")
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// rawMost is the largest raw disk that is compared: file systems end at 16 TiB.
const rawMost = 1 << 40

// piece is bytes that lie somewhere on a disk.
type piece struct {
	at int64
	b  []byte
}

// both are the same disk, raw and as we write it, its pieces at once.
func both(t *testing.T, size int64, pieces []piece) (raw, ours string) {
	t.Helper()
	raw, ours = filepath.Join(t.TempDir(), "raw"), filepath.Join(t.TempDir(), "qcow2")
	r, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if size <= rawMost {
		if err := r.Truncate((size + sector - 1) / sector * sector); err != nil {
			t.Fatal(err)
		}
	}
	q, err := os.Create(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	w, err := New(q, size)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, p := range pieces {
		if size <= rawMost {
			if _, err := r.WriteAt(p.b, p.at); err != nil {
				t.Fatal(err)
			}
		}
		all.Go(func() {
			if _, err := w.WriteAt(p.b, p.at); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw, ours
}

func TestQemuReadsWhatWeWrite(t *testing.T) {
	dense := func(size int64, each int) (all []piece) {
		for at := int64(0); at < size; at += int64(each) {
			all = append(all, piece{at, noise(byte(at>>12), int(min(int64(each), size-at)))})
		}
		return all
	}
	for name, c := range map[string]struct {
		size   int64
		pieces []piece
	}{
		"empty":               {0, nil},
		"zero":                {3 << 20, nil},
		"a byte":              {1, []piece{{0, []byte{7}}}},
		"odd":                 {5*cluster + 777, dense(5*cluster+777, cluster)},
		"dense, small pieces": {33 << 20, dense(33<<20, 4096)},
		"dense, large pieces": {20<<20 + 512, dense(20<<20+512, 1<<20)},
		"across clusters":     {1 << 20, []piece{{cluster - 100, noise(1, 2*cluster)}, {1<<20 - 5, noise(2, 5)}}},
		"sparse, many tables": {3<<30 + 512, []piece{{0, noise(1, 512)}, {512<<20 - 5, noise(2, 10)}, {2 << 30, noise(3, cluster)}, {3 << 30, noise(4, 512)}}},
		// Its tables alone are 2.1 GiB of holes, so that two blocks count them.
		"17 TiB":  {17 << 40, []piece{{9 << 40, noise(1, 99)}, {17<<40 - 1, []byte{1}}}},
		"its end": {200 << 30, []piece{{200<<30 - cluster, noise(1, cluster)}}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, ours := both(t, c.size, c.pieces)
			if out := qemu(t, "check", "-f", "qcow2", ours); !strings.Contains(out, "No errors were found") || strings.Contains(out, "leaked") {
				t.Errorf("check: %s", out)
			}
			if c.size > rawMost {
				return
			}
			if out := qemu(t, "compare", "-f", "raw", "-F", "qcow2", raw, ours); out != "Images are identical.\n" {
				t.Errorf("compare: %s", out)
			}
		})
	}
}

// The counts count themselves, also where they just begin another block.
func TestTheCountsCountThemselves(t *testing.T) {
	for _, full := range []int64{blockEntries, 2 * blockEntries, tableEntries * blockEntries} {
		for next := full - 5; next < full+5; next++ {
			blocks, table := (&Writer{next: next}).counts()
			total := next + blocks + table
			if blocks*blockEntries < total || (blocks-1)*blockEntries >= total || table*tableEntries < blocks || (table-1)*tableEntries >= blocks {
				t.Errorf("%d clusters: %d blocks and %d of their table for %d", next, blocks, table, total)
			}
		}
	}
}

// Only what is written takes room.
func TestAnImageIsNoLargerThanWhatItHolds(t *testing.T) {
	_, ours := both(t, 100<<30, []piece{{0, noise(1, cluster)}, {99 << 30, noise(2, cluster)}})
	st, err := os.Stat(ours)
	if err != nil {
		t.Fatal(err)
	}
	// header, first table, 200 tables, 2 clusters, counts
	if n := st.Size() / cluster; n != 1+1+200+2+2 {
		t.Errorf("%d clusters", n)
	}
}

func TestTheWriterRefuses(t *testing.T) {
	open := func(size int64) (*Writer, error) {
		f, err := os.Create(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return New(f, size)
	}
	for _, size := range []int64{-1, SizeMax + 1} {
		if _, err := open(size); err == nil {
			t.Errorf("a disk of %d bytes is taken", size)
		}
	}
	w, err := open(1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []piece{{-1, []byte{1}}, {1024, []byte{1}}, {1023, []byte{1, 2}}, {1 << 62, nil}} {
		if _, err := w.WriteAt(p.b, p.at); err == nil {
			t.Errorf("%d bytes at %d of a disk of 1024 are taken", len(p.b), p.at)
		}
	}
}

// An error of the file is told.
func TestTheWriterTellsOfAFullDisk(t *testing.T) {
	full := errors.New("no space left")
	whole := func(room int) error {
		w, err := New(&narrow{room: room, err: full}, 9*cluster)
		for at := int64(0); err == nil && at < 9; at++ {
			_, err = w.WriteAt(bytes.Repeat([]byte{1}, cluster), at*cluster)
		}
		if err == nil {
			err = w.Close()
		}
		return err
	}
	writes := 9*2 + 4
	if err := whole(writes); err != nil {
		t.Fatal(err)
	}
	for room := range writes {
		if err := whole(room); !errors.Is(err, full) {
			t.Errorf("room for %d writes: %v", room, err)
		}
	}
}

// narrow takes some writes.
type narrow struct {
	room int
	err  error
	b    [20 * cluster]byte
}

func (n *narrow) Truncate(int64) error { return nil }
func (n *narrow) ReadAt(p []byte, at int64) (int, error) {
	return copy(p, n.b[at:]), nil
}
func (n *narrow) WriteAt(p []byte, at int64) (int, error) {
	if n.room--; n.room < 0 {
		return 0, n.err
	}
	return copy(n.b[at:], p), nil
}
