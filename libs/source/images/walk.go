package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// depthMax of folders in a machine. Deeper ones are no machine but somebody's
// archive, or a loop of mounts.
const depthMax = 16

// nameMax is Linux's bound of a file's name.
const nameMax = 255

// entry is one regular file of a machine, as it stood.
type entry struct {
	rel   string // below the machine's folder, as the file system has it
	dev   uint64
	ino   uint64
	size  int64
	mtime syscall.Timespec
	ctime syscall.Timespec
}

func (e *entry) key() string { return source.Text(e.rel) }

// tree is all that lies in a machine's folder.
type tree struct {
	files    []entry // by key
	findings []string
}

func (t *tree) find(format string, args ...any) {
	t.findings = append(t.findings, fmt.Sprintf(format, args...))
}

// isMachine reports whether a folder's name is one of a machine. Hidden folders
// are a file system's or a datastore's own, and lost+found is fsck's.
func isMachine(name string) bool {
	return name != "" && name[0] != '.' && name != "lost+found" && len(name) <= nameMax && !strings.ContainsRune(name, 0)
}

// walk lists the regular files of a machine. What is not regular is a finding:
// a link leads to what is not the machine's, a device has no end.
func walk(ctx context.Context, dir string) (*tree, error) {
	t := &tree{}
	if err := t.enter(ctx, dir, "", 0); err != nil {
		return nil, err
	}
	sort.Slice(t.files, func(i, j int) bool { return t.files[i].key() < t.files[j].key() })
	return t, nil
}

func (t *tree) enter(ctx context.Context, dir, rel string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	all, err := os.ReadDir(filepath.Join(dir, rel))
	if err != nil {
		return err
	}
	for _, d := range all {
		name := path.Join(rel, d.Name())
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since; the ids will tell if it mattered
		} else if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir() && depth == depthMax:
			return source.Permanent(fmt.Errorf("%q: folders more than %d deep", name, depthMax))
		case mode.IsDir():
			if err := t.enter(ctx, dir, name, depth+1); err != nil {
				return err
			}
		case mode.IsRegular():
			if err := t.file(name, info); err != nil {
				return err
			}
		case mode&fs.ModeSymlink != 0:
			to, _ := os.Readlink(filepath.Join(dir, name))
			t.find("%q is a link to %q: not followed, left out", source.Text(name), source.Text(to))
		default:
			t.find("%q is no regular file (%s): left out", source.Text(name), mode.Type())
		}
	}
	return nil
}

func (t *tree) file(name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%q: the file system tells no inode", name)
	}
	if len(t.files) == source.MaxFiles {
		return source.Permanent(fmt.Errorf("more than %d files", source.MaxFiles))
	}
	t.files = append(t.files, entry{rel: name, dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim})
	if text := source.Text(name); text != name {
		t.find("the name %q is not UTF-8: kept with its odd bytes escaped, as %q", name, text)
	}
	return nil
}
