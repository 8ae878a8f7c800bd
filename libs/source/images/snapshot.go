package images

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"iter"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// changesTold bounds how many changed files a warning lists.
const changesTold = 5

// snapshot is how a machine's files stood at one moment.
type snapshot struct {
	order    source.Order
	dir      string
	id       string
	tree     *tree
	files    []source.File
	entries  map[string]*entry // by key
	warnings []string
}

// look takes down how the files stand now.
func (s *Source) look(ctx context.Context, dir string, o source.Order) (*snapshot, error) {
	t, err := walk(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("machine %q: %w", o.Machine, err)
	}
	n := &snapshot{order: o, dir: dir, id: t.id(), tree: t, entries: map[string]*entry{}, warnings: t.findings}
	disks := 0
	for i := range t.files {
		e := &t.files[i]
		f := source.File{Key: e.key(), Name: e.key(), Kind: kind(e.rel, e.size), Size: e.size}
		if o.Excludes(f) {
			n.warn("disk %q is excluded", f.Key)
			continue
		}
		if f.Kind == schemas.FileExported_KIND_DISK {
			disks++
			if what := format(dir, e); what != "" {
				n.warn("disk %q is %s: kept as the file it is, byte for byte", f.Key, what)
			}
		}
		n.files = append(n.files, f)
		n.entries[f.Key] = e
	}
	if len(n.files) == 0 {
		why := "its folder has no file"
		if len(t.files) > 0 {
			why = "all of its files are excluded"
		}
		return nil, source.Permanent(fmt.Errorf("machine %q: nothing to back up: %s", o.Machine, why))
	}
	if disks == 0 {
		n.warn("no disk")
	}
	return n, nil
}

func (n *snapshot) warn(format string, args ...any) {
	n.warnings = append(n.warnings, fmt.Sprintf(format, args...))
}

// id hashes how every file stands: any write moves ctime, which no program can set back.
func (t *tree) id() string {
	h := blake3.New()
	for i := range t.files {
		t.files[i].hash(h)
	}
	return fmt.Sprintf("images-%x", h.Sum(nil)[:16])
}

func (e *entry) hash(h hash.Hash) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(e.rel)))
	b = append(b, e.rel...)
	for _, v := range []uint64{e.ino, uint64(e.size), uint64(e.mtime.Sec), uint64(e.mtime.Nsec), uint64(e.ctime.Sec), uint64(e.ctime.Nsec)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	h.Write(b)
}

func (n *snapshot) ID() string           { return n.id }
func (n *snapshot) Files() []source.File { return n.files }
func (n *snapshot) Warnings() []string   { return n.warnings }
func (n *snapshot) Close() error         { return nil }

// Changed yields where a file has blocks. A folder remembers no changes.
func (n *snapshot) Changed(ctx context.Context, f source.File, since string) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		if since != "" {
			yield(source.Range{}, fmt.Errorf("machine %q: file %q: a folder of images: %w", n.order.Machine, f.Key, source.ErrUntracked))
			return
		}
		r, err := n.open(f)
		if err != nil {
			yield(source.Range{}, err)
			return
		}
		defer r.Close()
		for at := int64(0); at < f.Size; {
			if err := ctx.Err(); err != nil {
				yield(source.Range{}, err)
				return
			}
			data, err := r.data(at)
			if err != nil {
				yield(source.Range{}, err)
				return
			}
			if data.Len == 0 || !yield(data, nil) {
				return
			}
			at = data.Off + data.Len
		}
	}
}

// Check looks again. Files that changed while they were read make the whole fuzzy.
func (n *snapshot) Check(ctx context.Context) (source.Worth, error) {
	now, err := walk(ctx, n.dir)
	if errors.Is(err, fs.ErrNotExist) {
		now = &tree{}
	} else if err != nil {
		return source.Worth{}, fmt.Errorf("machine %q: look again after the last read: %w", n.order.Machine, err)
	}
	if now.id() == n.id {
		return source.Worth{Level: schemas.Consistency_CONSISTENCY_CRASH}, nil
	}
	why := "changed while it was read: " + strings.Join(n.tree.changes(now), "; ")
	if n.order.Quiesce == schemas.Options_QUIESCE_REQUIRE {
		return source.Worth{}, source.Permanent(fmt.Errorf("machine %q %s; quiesce is required: stop or snapshot it by a pre command", n.order.Machine, why))
	}
	return source.Worth{Level: schemas.Consistency_CONSISTENCY_FUZZY, Warnings: []string{why}}, nil
}

// changes says, file by file, what became of the files of t.
func (t *tree) changes(now *tree) (all []string) {
	left := map[string]*entry{}
	for i := range now.files {
		left[now.files[i].rel] = &now.files[i]
	}
	more := 0
	say := func(format string, args ...any) {
		if len(all) == changesTold {
			more++
			return
		}
		all = append(all, fmt.Sprintf(format, args...))
	}
	for i := range t.files {
		was := &t.files[i]
		is := left[was.rel]
		delete(left, was.rel)
		switch {
		case is == nil:
			say("%q vanished", was.key())
		case is.ino != was.ino:
			say("%q was replaced", was.key())
		case is.size < was.size:
			say("%q shrank from %d to %d bytes", was.key(), was.size, is.size)
		case is.size > was.size:
			say("%q grew from %d to %d bytes", was.key(), was.size, is.size)
		case *is != *was:
			say("%q was written", was.key())
		}
	}
	for i := range now.files {
		if _, new := left[now.files[i].rel]; new {
			say("%q is new", now.files[i].key())
		}
	}
	if more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return all
}
