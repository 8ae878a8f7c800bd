// Package images backs up a folder of machines, each a folder of disk images and
// descriptors: what a KVM host keeps, a mounted datastore shows or an export
// leaves.
//
//	<path>/<machine>/disk0.raw        a disk: raw, sparse or not
//	<path>/<machine>/settings.xml     any other small file: kept as it is
//	<path>/<machine>/efivars.nvram
//
// Every file is kept byte for byte, images of other formats (qcow2, vmdk, ...)
// too: what comes back is the file that was there, with all that is in it, but
// unchanged blocks are found in the file and not in the disk that it describes.
//
// A folder can't stand still by itself. So a snapshot here is a claim that is
// checked: its id is a hash over path, inode, size, mtime and ctime of every
// file, and if that is another after the last read, the backup is fuzzy, or
// failed where quiesce is required. A command before (pre) may stop or snapshot
// the machine, one after (post) lets it go on.
package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// HookTimeoutDefault is how long pre and post may each take: a snapshot takes
// seconds, a guest that is asked to flush a minute.
const HookTimeoutDefault = 5 * time.Minute

// Options of a folder.
type Options struct {
	// Pre and Post are shell commands, run with HOLDFAST_MACHINE (the machine's
	// folder name), HOLDFAST_DIR (the folder) and HOLDFAST_SNAPSHOT (a name that is
	// this attempt's own). Pre runs before the machine is looked at. Post runs
	// after it was read, or when the attempt ended early: also if pre failed, and
	// sometimes twice, so it must do nothing where nothing is left to do.
	Pre, Post string
	// Timeout of each. 0: HookTimeoutDefault.
	Timeout time.Duration
}

// Source is one folder of machines. It implements source.Source.
type Source struct {
	path string
	o    Options
}

// Open returns the source in a folder, which must be there.
func Open(path string, o Options) (*Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open images: %s is no folder", abs)
	}
	if o.Timeout <= 0 {
		o.Timeout = HookTimeoutDefault
	}
	return &Source{abs, o}, nil
}

// folder is where a machine lies. Its id comes over the wire, so it must be one
// element of a path, and not a way out.
func (s *Source) folder(machine string) (string, error) {
	raw := source.Raw(machine)
	if !isMachine(raw) || raw != filepath.Base(raw) {
		return "", source.Permanent(fmt.Errorf("machine %q: not the name of a folder of machines: %w", machine, source.ErrGone))
	}
	dir := filepath.Join(s.path, raw)
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A missing root is an unmounted share, not a machine that somebody removed.
		if _, root := os.Stat(s.path); root != nil {
			return "", fmt.Errorf("machine %q: %w", machine, root)
		}
		return "", fmt.Errorf("machine %q: no folder %s: %w", machine, dir, source.ErrGone)
	case err != nil:
		return "", fmt.Errorf("machine %q: %w", machine, err)
	case !info.IsDir():
		return "", source.Permanent(fmt.Errorf("machine %q: %s is no folder: %w", machine, dir, source.ErrGone))
	}
	return dir, nil
}

// Prepare runs pre and takes down how each file stands.
func (s *Source) Prepare(ctx context.Context, o source.Order) (source.Snapshot, error) {
	dir, err := s.folder(o.Machine)
	if err != nil {
		return nil, err
	}
	if err := s.hook(ctx, "pre", s.o.Pre, dir, o); err != nil {
		return nil, err
	}
	snap, err := s.look(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if !snap.tree.young(time.Now()) {
		return snap, nil
	}
	// What was written in this tick of the file system's clock may be written in it
	// again, and have no other ctime.
	select {
	case <-time.After(tick):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if snap, err = s.look(ctx, dir, o); err != nil {
		return nil, err
	}
	return snap, nil
}

// tick is longer than that of any kernel's clock (HZ = 100).
const tick = 20 * time.Millisecond

// young reports whether a file changed within the last tick.
func (t *tree) young(now time.Time) bool {
	for i := range t.files {
		if age := now.Sub(time.Unix(t.files[i].ctime.Sec, t.files[i].ctime.Nsec)); age > -tick && age < tick {
			return true
		}
	}
	return false
}

// Resume looks again, and finds the snapshot if nothing has changed since.
func (s *Source) Resume(ctx context.Context, o source.Order, id string) (source.Snapshot, error) {
	dir, err := s.folder(o.Machine)
	if err != nil {
		return nil, err
	}
	snap, err := s.look(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	if snap.id != id {
		return nil, fmt.Errorf("machine %q: its files changed since snapshot %s: %w", o.Machine, id, source.ErrGone)
	}
	return snap, nil
}

// End runs post. A folder has nothing else that could be left behind.
func (s *Source) End(ctx context.Context, o source.Order) error {
	if s.o.Post == "" {
		return nil
	}
	dir, err := s.folder(o.Machine)
	if err != nil && !errors.Is(err, source.ErrGone) {
		return err
	}
	if dir == "" { // what pre made may be there without the folder
		dir = filepath.Join(s.path, filepath.Base(source.Raw(o.Machine)))
	}
	return s.hook(ctx, "post", s.o.Post, dir, o)
}

// kind tells a disk from a descriptor. What is called a disk is one, of any size;
// else what is too big to be a description is.
func kind(name string, size int64) schemas.FileExported_Kind {
	switch filepath.Ext(name) {
	case ".nvram":
		return schemas.FileExported_KIND_NVRAM
	case ".raw", ".img", ".qcow2", ".qcow", ".vdi", ".vhd", ".vhdx":
		return schemas.FileExported_KIND_DISK
	}
	if size > configMax {
		return schemas.FileExported_KIND_DISK
	}
	return schemas.FileExported_KIND_CONFIG
}

// configMax is the most that a description has: a domain's XML or a .vmx has some
// 10 KiB, an OVF with icons some 100.
const configMax = 1 << 20
