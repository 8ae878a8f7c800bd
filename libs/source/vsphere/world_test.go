package vsphere_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/sourcetest"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// world is a demo vCenter and a source of it.
type world struct {
	*testing.T
	v   *vcenter.VCenter
	s   *vsphere.Source
	log *lines
}

// lines are what a source logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, o vcenter.Options) *vcenter.VCenter {
	t.Helper()
	o.Dir = t.TempDir()
	v, err := vcenter.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func options(v *vcenter.VCenter) vsphere.Options {
	return vsphere.Options{URL: v.URL(), User: v.User, Password: func() (string, error) { return v.Password, nil },
		Thumbprint: v.Thumbprint()}
}

func open(t *testing.T, o vsphere.Options) *vsphere.Source {
	t.Helper()
	s, err := vsphere.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Hurry()
	t.Cleanup(func() { s.Close() })
	return s
}

func newWorld(t *testing.T, transport string) *world {
	t.Helper()
	w := &world{T: t, v: start(t, vcenter.Options{Areas: 5}), log: &lines{}}
	o := options(w.v)
	o.Transport, o.Log = transport, slog.New(slog.NewTextHandler(w.log, nil))
	w.s = open(t, o)
	return w
}

func (w *world) ck(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) add(m vcenter.Machine) string {
	w.Helper()
	id, err := w.v.Add(m)
	w.ck(err)
	return id
}

// noise is content that no two seeds share; every fourth block of 64 KiB is zero.
func noise(seed uint64, size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, size)
	for at := 0; at < size; at += 64 << 10 {
		if at>>16%4 != 3 {
			r.Read(b[at:min(at+64<<10, size)])
		}
	}
	return b
}

// guest is what a machine's disk holds now.
func (w *world) guest(id string, n int) []byte {
	w.Helper()
	d := w.v.Disk(id, n)
	b := make([]byte, d.Size())
	if _, err := d.ReadAt(b, 0); err != nil {
		w.Fatal(err)
	}
	return b
}

func (w *world) write(id string, n int, off int64, b []byte) {
	w.Helper()
	_, err := w.v.Disk(id, n).WriteAt(b, off)
	w.ck(err)
}

func (w *world) keys(id string) []string {
	w.Helper()
	keys, err := w.s.Keys(w.Context(), id)
	w.ck(err)
	return keys
}

// suite makes the world of the contract's suite: machines and disks have names
// there, and ids here.
func suite(t *testing.T, transport string, on bool) sourcetest.World {
	w := newWorld(t, transport)
	ids, disks := map[string]string{}, map[string][]string{}
	set := func(machine, key string, b []byte) {
		id, n := ids[machine], slices.Index(disks[machine], key)
		if id == "" {
			ids[machine] = w.add(vcenter.Machine{Name: machine, On: on, Tracking: true, Disks: []vcenter.Disk{{Size: int64(len(b)), Content: bytes.NewReader(b)}}})
			disks[machine] = []string{key}
			return
		}
		if n < 0 {
			n = len(disks[machine])
			w.ck(w.v.AddDisk(id, int64(len(b))))
			disks[machine] = append(disks[machine], key)
		}
		if d := w.v.Disk(id, n); int64(len(b)) > d.Size() {
			w.ck(d.Grow(int64(len(b))))
		}
		now := w.guest(id, n)
		for off := 0; off < len(b); off += 512 { // what is the same is not written
			if to := min(off+512, len(b)); !bytes.Equal(now[off:to], b[off:to]) {
				w.write(id, n, int64(off), b[off:to])
			}
		}
	}
	return sourcetest.World{
		Source: w.s, Set: set, Unit: 512,
		Destroy: func(machine string) { w.ck(w.v.Destroy(ids[machine])) },
		Left:    func() []string { return w.v.Counters().Open },
		ID:      func(machine string) string { return ids[machine] },
		Key:     func(machine, key string) string { return w.keys(ids[machine])[slices.Index(disks[machine], key)] },
	}
}

// left fails if anything of ours is still at the vCenter.
func (w *world) left() {
	w.Helper()
	c := w.v.Counters()
	for _, name := range c.Open {
		if strings.Contains(name, "/holdfast-") {
			w.Errorf("left at the vCenter: %s", name)
		}
	}
	for host, g := range c.Leases {
		if g.Now > 0 {
			w.Errorf("%d leases are left at %s", g.Now, host)
		}
	}
}

// point is what a backup keeps of a machine.
type point struct {
	files map[string]source.File
	bytes map[string][]byte
	why   string // the first reason why a tracked disk was read in full
	worth source.Worth
	warns []string
}

// backup does what the exporter does: prepare, read each file on the base, check,
// end. during is called between prepare and the first read.
func (w *world) backup(o source.Order, base *point, during func()) (*point, error) {
	w.Helper()
	p, err := w.attempt(o, base, during)
	if e := w.s.End(w.Context(), o); e != nil {
		w.Errorf("end: %v", e)
	}
	return p, err
}

func (w *world) attempt(o source.Order, base *point, during func()) (*point, error) {
	ctx := w.Context()
	snap, err := w.s.Prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	if during != nil {
		during()
	}
	p := &point{files: map[string]source.File{}, bytes: map[string][]byte{}}
	for i, f := range snap.Files() {
		if err := w.file(snap, f, base, p); err != nil {
			return nil, err
		}
		p.files[f.Key] = snap.Files()[i]
	}
	if p.worth, err = snap.Check(ctx); err != nil {
		return nil, err
	}
	p.warns = append(slices.Clone(snap.Warnings()), p.worth.Warnings...)
	return p, nil
}

func (w *world) file(snap source.Snapshot, f source.File, base, p *point) error {
	ctx, since := w.Context(), ""
	out := make([]byte, f.Size)
	if base != nil && f.ChangeID != "" && base.files[f.Key].ChangeID != "" {
		since = base.files[f.Key].ChangeID
	}
	for _, err := range snap.Changed(ctx, f, since) {
		if strings.Contains(fmt.Sprint(err), source.ErrUntracked.Error()) {
			p.why, since = err.Error(), ""
		} else if err != nil {
			return err
		}
		break
	}
	if since != "" {
		copy(out, base.bytes[f.Key])
	}
	changed := snap.Changed(ctx, f, since)
	r, err := snap.Open(ctx, f, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	const grid = 64 << 10
	at := int64(0)
	for c, err := range changed {
		if err != nil {
			return err
		}
		for off := max(at, c.Off/grid*grid); off < c.Off+c.Len; off += grid {
			at = min(off+grid, f.Size)
			for i := range out[off:at] {
				out[off+int64(i)] = 0xee // what is not allocated must be filled in
			}
			if err := r.ReadAt(ctx, out[off:at], off); err != nil {
				return err
			}
		}
	}
	p.bytes[f.Key] = out
	return nil
}
