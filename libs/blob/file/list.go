package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// List holds one folder's names at a time for each level it is in. What has no
// name of a key (hidden, lost+found) is not an object.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		err := blob.CheckPrefix(prefix)
		if err == nil {
			_, err = s.look()
		}
		if err == nil {
			dir := ""
			if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
				dir = prefix[:i+1]
			}
			err = s.walk(ctx, dir, prefix, func(i blob.Info) bool { return yield(i, nil) })
		}
		if err == nil {
			_, err = s.look() // folders that vanished are no error: was it this one?
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

var errStopped = errors.New("the caller has enough")

// walk shows the objects below dir, which is empty or ends in a slash.
func (s *Store) walk(ctx context.Context, dir, prefix string, show func(blob.Info) bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	names, err := os.ReadDir(s.path(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	// In key order a folder stands where its slash puts it: "a-b" before "a/b".
	slices.SortFunc(names, func(a, b fs.DirEntry) int { return cmp.Compare(slashed(a), slashed(b)) })
	for _, n := range names {
		key := dir + slashed(n)
		if !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) || blob.CheckKey(dir+n.Name()) != nil {
			continue
		}
		if n.IsDir() {
			if err := s.walk(ctx, key, prefix, show); err != nil {
				return err
			}
			continue
		}
		i, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !i.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(key, prefix) && !show(blob.Info{Key: key, Size: i.Size()}) {
			return errStopped
		}
	}
	return nil
}

func slashed(d fs.DirEntry) string {
	if d.IsDir() {
		return d.Name() + "/"
	}
	return d.Name()
}
