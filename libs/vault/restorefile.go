package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/schemas"
)

// partial is added to the name of a file that is not restored to its end.
const partial = ".holdfast-partial"

// nameMax is Linux's bound of a file's name.
const nameMax = 255

// partialOf is where a file lies until it is whole. A name that leaves no room for
// the addition gives way to its hash: it could be backed up, so it must come back.
func partialOf(path string) string {
	dir, name := filepath.Split(path)
	if len(name)+len(partial) > nameMax {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:])
	}
	return filepath.Join(dir, name+partial)
}

// RestoreFile restores one file of a point to path as a sparse file, durable on
// return. Until it is whole it lies beside path under another name; a restore
// that was cut off goes on from what lies there, reading it rather than the vault.
// A file that is at path is left alone, and fs.ErrExist returned, unless force.
func (r *Reader) RestoreFile(ctx context.Context, p *Point, f *schemas.PointFile, path string, force bool, done func(bytes, written uint64)) error {
	return writeWhole(f.Name, path, force, func(to *os.File) error {
		st, err := to.Stat()
		if err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		if err := to.Truncate(int64(f.SizeBytes)); err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
		return r.Restore(ctx, p, f, to, RestoreOptions{Compare: st.Size() > 0, Done: done})
	})
}

// writeWhole has fill write a file, which may hold what an earlier one wrote, and
// gives it its name when it is durable.
func writeWhole(name, path string, force bool, fill func(*os.File) error) error {
	if st, err := os.Lstat(path); err == nil {
		if st.IsDir() {
			return fmt.Errorf("restore %s: %s is a folder: %w", name, path, fs.ErrExist)
		}
		if !force {
			return fmt.Errorf("restore %s: %s: %w", name, path, fs.ErrExist)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	tmp := partialOf(path)
	if st, err := os.Lstat(tmp); err == nil && !st.Mode().IsRegular() { // a link would lead elsewhere
		return fmt.Errorf("restore %s: %s is no regular file: %w", name, tmp, fs.ErrExist)
	}
	to, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	defer to.Close()
	if err := fill(to); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	return publishFile(tmp, path, force)
}

// Restored reports whether path holds the whole file f of a point, as a restore
// leaves it that was cut off behind its last step. It reads a pack only where they
// differ, writes nothing, and takes away what such a restore left beside path.
func (r *Reader) Restored(ctx context.Context, p *Point, f *schemas.PointFile, path string) (bool, error) {
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() || uint64(st.Size()) != f.SizeBytes {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	to, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer to.Close()
	err = r.Restore(ctx, p, f, mirror{to}, RestoreOptions{Compare: true})
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := os.Remove(partialOf(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("restore %s: %w", f.Name, err)
	}
	return true, nil
}

// mirror is a sink that is compared and never written.
type mirror struct{ io.ReaderAt }

var errDiffers = errors.New("the file there is another")

func (mirror) WriteAt([]byte, int64) (int, error) { return 0, errDiffers }

// publishFile gives a whole file its name. Without force the name must be free
// at that very moment, too.
func publishFile(tmp, path string, force bool) (err error) {
	if force {
		err = os.Rename(tmp, path)
	} else if err = os.Link(tmp, path); err == nil {
		err = os.Remove(tmp)
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	defer dir.Close()
	return dir.Sync()
}
