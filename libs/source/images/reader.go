package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// reader reads one file of a snapshot. Its errors name machine and file.
type reader struct {
	f    *os.File
	what string
	size int64
}

// Open opens a file, which must be the one that the snapshot saw.
func (n *snapshot) Open(_ context.Context, f source.File, _ int64) (source.Reader, error) {
	return n.open(f)
}

func (n *snapshot) open(f source.File) (*reader, error) {
	what := fmt.Sprintf("machine %q: file %q", n.order.Machine, f.Key)
	e := n.entries[f.Key]
	if e == nil {
		return nil, source.Permanent(fmt.Errorf("%s: not in snapshot %s", what, n.id))
	}
	// O_NONBLOCK: who puts a pipe in a file's place must not hang us.
	file, err := os.OpenFile(filepath.Join(n.dir, e.rel), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("%s: vanished since it was listed: %w", what, err)
	case errors.Is(err, syscall.ELOOP):
		return nil, fmt.Errorf("%s: replaced by a link since it was listed: %w", what, err)
	case err != nil:
		return nil, fmt.Errorf("%s: unreadable: %w", what, err)
	}
	r := &reader{file, what, f.Size}
	if err := r.same(e); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// same checks that what was opened is what was listed: another file of that name
// would be half of one and half of the other.
func (r *reader) same(e *entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.f.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", r.what, err)
	}
	if st.Ino != e.ino || uint64(st.Dev) != e.dev || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s: replaced by another file since it was listed", r.what)
	}
	if st.Size < e.size {
		return fmt.Errorf("%s: shrank from %d to %d bytes since it was listed", r.what, e.size, st.Size)
	}
	return nil
}

// ReadAt reads into p directly: no copy beside the kernel's.
func (r *reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := r.f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		size := off + int64(n)
		if st, err := r.f.Stat(); err == nil {
			size = st.Size() // which may lie before off
		}
		return fmt.Errorf("%s: shrank to %d bytes while it was read, it had %d", r.what, size, r.size)
	}
	return fmt.Errorf("%s: unreadable at %d: %w", r.what, off+int64(n), err)
}

// data finds the next stretch with blocks at or after an offset; Len is 0 if
// there is none. A file system that can't tell has blocks everywhere.
func (r *reader) data(at int64) (source.Range, error) {
	fd := int(r.f.Fd())
	from, err := unix.Seek(fd, at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return source.Range{}, nil
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return source.Range{Off: at, Len: r.size - at}, nil
	}
	if err != nil {
		return source.Range{}, fmt.Errorf("%s: find data at %d: %w", r.what, at, err)
	}
	if from >= r.size { // it grew
		return source.Range{}, nil
	}
	to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) {
		return source.Range{}, fmt.Errorf("%s: shrank below %d bytes while it was read, it had %d", r.what, from, r.size)
	}
	if err != nil {
		return source.Range{}, fmt.Errorf("%s: find a hole at %d: %w", r.what, from, err)
	}
	return source.Range{Off: from, Len: min(to, r.size) - from}, nil
}

func (r *reader) Close() error { return r.f.Close() }
