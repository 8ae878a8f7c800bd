package synthetic

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// snapshot is one version of a machine.
type snapshot struct {
	m       *machine
	shape   string
	version int
	files   []source.File
}

// ID is also the change id of each disk.
func (n *snapshot) ID() string           { return fmt.Sprintf("%s-%d", n.shape, n.version) }
func (n *snapshot) Files() []source.File { return n.files }
func (n *snapshot) Warnings() []string   { return nil }
func (n *snapshot) Close() error         { return nil }

// Check is always content: a version does not change.
func (n *snapshot) Check(ctx context.Context) (source.Worth, error) {
	return source.Worth{Level: schemas.Consistency_CONSISTENCY_CRASH}, ctx.Err()
}

// Changed yields what is allocated, or what the versions between wrote.
func (n *snapshot) Changed(ctx context.Context, f source.File, since string) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		d, err := n.disk(f)
		if err != nil {
			yield(source.Range{}, err)
			return
		}
		ranges := d.allocated()
		if since != "" {
			shape, text, _ := strings.Cut(since, "-")
			v, err := strconv.Atoi(text)
			if err != nil || shape != n.shape || v < 0 || v > MaxVersion {
				yield(source.Range{}, fmt.Errorf("machine %q: file %q: %q is of another machine: %w", n.m.name, f.Key, since, source.ErrUntracked))
				return
			}
			ranges = d.written(min(v, n.version), max(v, n.version))
		}
		for r := range ranges {
			if err := ctx.Err(); err != nil {
				yield(source.Range{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (n *snapshot) disk(f source.File) (disk, error) {
	for _, d := range n.m.disks {
		if d.key == f.Key {
			return d, nil
		}
	}
	return disk{}, source.Permanent(fmt.Errorf("machine %q: file %q: not in snapshot %s", n.m.name, f.Key, n.ID()))
}

// Open gives the bytes of one disk.
func (n *snapshot) Open(_ context.Context, f source.File, _ int64) (source.Reader, error) {
	d, err := n.disk(f)
	return &reader{d, n.version}, err
}

type reader struct {
	d       disk
	version int
}

func (r *reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off+int64(len(p)) > r.d.size {
		return fmt.Errorf("machine %q: file %q: read %d bytes at %d, it has %d", r.d.m.name, r.d.key, len(p), off, r.d.size)
	}
	r.d.read(p, off, r.version)
	return nil
}

func (r *reader) Close() error { return nil }

// Version is a machine's disk at one version, for who compares.
type Version struct{ reader }

// Disk is that of a machine of o.
func (o Options) Disk(machine string, version int) (*Version, error) {
	m := Open(o).machines[machine]
	if m == nil {
		return nil, fmt.Errorf("machine %q: %w", machine, source.ErrGone)
	}
	return &Version{reader{m.disks[0], version}}, nil
}

// Allocated yields, in ascending order, what the disk has bytes for.
func (v *Version) Allocated(yield func(source.Range) bool) { v.d.allocated()(yield) }

// Written yields what the versions after since up to this one wrote.
func (v *Version) Written(since int, yield func(source.Range) bool) {
	v.d.written(since, v.version)(yield)
}
