//go:build synctests

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/vault"
)

// coldReader is what a stranger has: the targets that are left, and the key.
func (w *world) coldReader(gone ...int) *vault.Reader {
	w.t.Helper()
	v, err := vault.Open(context.Background(), w.cold(gone))
	w.must(err)
	r, err := v.Reader(w.ring)
	w.must(err)
	return r
}

// coldPoints restores every point of the vault, told or not, and holds it against
// the snapshot that it claims.
func (w *world) coldPoints() map[string]*vault.Point {
	w.t.Helper()
	r, points := w.coldReader(), map[string]*vault.Point{}
	paths, err := r.Points(context.Background())
	w.check(err == nil, 1, "the vault does not list its points: %v", err)
	for _, path := range paths {
		p, err := r.Point(context.Background(), path)
		if err != nil {
			w.check(false, 4, "point %s: %v", path, err)
			continue
		}
		points[path] = p
		if err := w.same(r, p); err != nil {
			w.check(false, 1, "point %s: %v", path, err)
		}
	}
	return points
}

// same restores a point and compares it with the one snapshot that it claims, which
// must be one that its own lease made.
func (w *world) same(r *vault.Reader, p *vault.Point) error {
	st := w.stateOf(p)
	if st == nil {
		return fmt.Errorf("no source ever made snapshot %q", p.SnapshotId)
	}
	if want := orderName(p.Run.Backup, p.Run.Lease); st.order != want || st.machine != p.Machine.Id {
		return fmt.Errorf("snapshot %s was made of %s for %s, and the point is of %s for %s", st.id, st.machine, st.order, p.Machine.Id, want)
	}
	if len(p.Files) != len(st.files) {
		return fmt.Errorf("%d files, the machine had %d", len(p.Files), len(st.files))
	}
	for _, f := range p.Files {
		d, ok := st.files[f.Key]
		if !ok || int64(f.SizeBytes) != d.size {
			return fmt.Errorf("file %q of %d bytes, the machine had %d", f.Key, f.SizeBytes, d.size)
		}
		if f.ChangeId != "" && f.ChangeId != st.id {
			return fmt.Errorf("file %q is of state %s, the point of %s", f.Key, f.ChangeId, st.id)
		}
		got := memory(make([]byte, d.size))
		if err := r.Restore(context.Background(), p, f, got, vault.RestoreOptions{}); err != nil {
			return err
		}
		if err := d.equal(got); err != nil {
			return fmt.Errorf("file %q: %w", f.Key, err)
		}
	}
	return nil
}

func (w *world) stateOf(p *vault.Point) *state {
	for _, s := range w.sites {
		if s.name == p.Machine.Source {
			return s.state(p.SnapshotId)
		}
	}
	return nil
}

// equal says which unit of a disk differs.
func (d disk) equal(got []byte) error {
	if int64(len(got)) != d.size {
		return fmt.Errorf("%d bytes, want %d", len(got), d.size)
	}
	var want [unit]byte
	for i, n := range d.units {
		off := int64(i) * unit
		fill(want[:], n)
		if end := min(off+unit, d.size); !bytes.Equal(got[off:end], want[:end-off]) {
			return fmt.Errorf("the bytes at %d are not those that it had (content %d)", off, n)
		}
	}
	return nil
}

// memory is a file to restore into.
type memory []byte

var errBehind = errors.New("behind the end")

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(m)) {
		return 0, errBehind
	}
	return copy(m[off:], p), nil
}

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(m)) {
		return 0, errBehind
	}
	return copy(p, m[off:]), nil
}
