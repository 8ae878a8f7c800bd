package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// grid is the vault's.
const grid = 64 << 10

// sql asks the ledger, and returns rows of columns.
func (l *living) sql(ctx context.Context, sql string) (rows [][]string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.ledger.HTTP, strings.NewReader(sql+" FORMAT TSV"))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(l.ledger.User, l.ledger.Password)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ledger: %s: %w: %.500s", r.Status, err, b)
	}
	for line := range strings.Lines(string(b)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, nil
}

func number(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1 // equals nothing that was told
	}
	return n
}

// counts are what the ledger has of each backup: distinct places, and the bytes of
// those that were fresh, known, zero and inherited. Rows lie in this order, so it
// need not hold them all.
const counts = `SELECT toString(backup), toString(sum(n)), toString(sumIf(len, o = 'fresh')), toString(sumIf(len, o = 'known')),
toString(sumIf(len, o = 'zero')), toString(sumIf(len, o = 'inherited')) FROM
(SELECT backup, file_no, place, any(places) AS n, any(length_bytes) AS len, any(toString(outcome)) AS o FROM ledger.chunk_log GROUP BY backup, file_no, place)
GROUP BY backup SETTINGS optimize_aggregation_in_order = 1`

// ledger holds what it counts against what the auditor told of each backup, and
// against the disks' sizes, which are what each point in the vault has places of.
func (w *world) ledger(ctx context.Context) error {
	if w.house.ledger == nil {
		w.report.Ledger = "blind, as asked for"
		return nil
	}
	rows, err := w.house.sql(ctx, counts)
	if err != nil {
		return err
	}
	have := map[string][]string{}
	for _, row := range rows {
		have[row[0]] = row[1:]
	}
	places := 0.0
	for _, ends := range w.ends {
		for id, c := range ends {
			if c.Status != "completed" {
				continue
			}
			want := []uint64{(uint64(w.size) + grid - 1) / grid, c.Bytes.Fresh, c.Bytes.Known, c.Bytes.Zero, c.Bytes.Inherited}
			got := have[id.String()]
			if w.vc != nil && len(got) > 0 {
				// Its machines have small files, too, whose inherited places the ledger
				// counts as whole ones.
				places += number(got[0]) - float64(want[0])
				got[0], want[4] = fmt.Sprint(want[0]), uint64(number(got[4]))
			}
			if !slices.EqualFunc(got, want, func(g string, n uint64) bool { return number(g) == float64(n) }) {
				w.report.fault("backup %s of %s: the ledger has places and bytes %v, and %v were told", id, c.Machine.ID, got, want)
				continue
			}
			places += float64(want[0])
		}
	}
	w.report.Ledger = fmt.Sprintf("%.0f distinct places, equal to the auditor's", places)
	return nil
}

// verify restores some points of the last round from vault and key alone.
func (w *world) verify(ctx context.Context) error {
	if len(w.ends) < w.rounds {
		return nil
	}
	var all []schemas.BackupCompleted
	for _, c := range w.ends[w.rounds-1] {
		if c.Status == "completed" {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b schemas.BackupCompleted) int { return strings.Compare(a.Machine.ID, b.Machine.ID) })
	rng := rand.New(rand.NewPCG(w.seed, 2))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, c := range all[:min(w.sample, len(all))] {
		if err := w.restored(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) restored(ctx context.Context, c schemas.BackupCompleted) error {
	to := filepath.Join(w.work, "restored")
	defer os.RemoveAll(to)
	cmd := exec.CommandContext(ctx, w.binary, "vault", "--at="+filepath.Join(w.data(), "vault"), "restore", c.Point, "--to", to, "--data", w.data())
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.report.fault("restore %s of %s: %v: %s", c.Point, c.Machine.ID, err, bytes.TrimSpace(out))
		return nil
	}
	w.report.RestorePeak = max(w.report.RestorePeak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
	path, err := diskBelow(to, int64(w.size))
	if err != nil {
		return err
	}
	n, err := w.compare(ctx, c.Machine.Name, path)
	if err != nil {
		w.report.fault("point %s of %s: %v", c.Point, c.Machine.ID, err)
		return nil
	}
	w.report.Compared++
	w.report.ComparedBytes += n
	return nil
}

// diskBelow is the disk among the files of a restored machine.
func diskBelow(dir string, size int64) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && st.Size() == size {
			return name, nil
		}
	}
	return "", fmt.Errorf("no file of %d bytes in %s: %q: %w", size, dir, names, err)
}

// compare holds a restored disk against what the source's function says: all that
// either has data for.
func (w *world) compare(ctx context.Context, machine, path string) (compared int64, _ error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != int64(w.size) {
		return 0, fmt.Errorf("%s has %d bytes, the disk %d: %w", path, st.Size(), w.size, err)
	}
	disk, err := w.synthetic().Disk(machine, w.rounds-1)
	if err != nil {
		return 0, err
	}
	var unread error
	there := func(yield func(source.Range) bool) { unread = dataOf(f, yield) }
	for _, ranges := range []func(func(source.Range) bool){disk.Allocated, there} {
		for r := range ranges {
			n, err := same(ctx, f, disk, r)
			if err != nil {
				return compared, err
			}
			compared += n
		}
	}
	return compared, unread
}

// same compares a range, a MiB at a time.
func same(ctx context.Context, f *os.File, disk source.Reader, r source.Range) (n int64, err error) {
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := r.Off; off < r.Off+r.Len; off += int64(len(got)) {
		k := min(int64(len(got)), r.Off+r.Len-off)
		if _, err := f.ReadAt(got[:k], off); err != nil {
			return n, err
		}
		if err := disk.ReadAt(ctx, want[:k], off); err != nil {
			return n, err
		}
		if !bytes.Equal(got[:k], want[:k]) {
			return n, fmt.Errorf("what was restored differs at %d or within %d bytes of it", off, k)
		}
		n += k
	}
	return n, nil
}

// dataOf yields where a file has blocks.
func dataOf(f *os.File, yield func(source.Range) bool) error {
	for at := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find data at %d: %w", at, err)
		}
		if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("find a hole at %d: %w", from, err)
		}
		if !yield(source.Range{Off: from, Len: at - from}) {
			return nil
		}
	}
}
