package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// readAt fills p from a file. A file that is not there, or ends before p is full,
// is ErrMissing.
func readAt(path string, p []byte, off int64) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, ErrMissing)
	} else if err != nil {
		return err
	}
	defer f.Close()
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ESTALE) { // removed on another host of a network share
		return fmt.Errorf("read %s: %d bytes at %d, want %d: %w", path, n, off, len(p), ErrMissing)
	}
	return fmt.Errorf("read %s at %d: %w", path, off, err)
}

// overwrite makes a file hold body and nothing else, and keeps the blocks it has.
func overwrite(f *os.File, body [][]byte) error {
	var at int64
	for _, b := range body {
		n, err := f.WriteAt(b, at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	info, err := f.Stat()
	if err != nil || info.Size() == at {
		return err
	}
	return f.Truncate(at)
}

// full says ErrFull of errors that mean it.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return full(fmt.Errorf(format+": %w", append(args, err)...))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func size(body [][]byte) (n int64) {
	for _, b := range body {
		n += int64(len(b))
	}
	return n
}
