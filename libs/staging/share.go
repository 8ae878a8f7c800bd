// Package staging is the file share for bytes in flight: extents between exporter
// and compressor-encryptor, and (Sealed) packs between there and the uploader.
//
// Nothing here is durable and nothing is fsynced: each reader knows the hash of
// what it reads, and bytes that are lost or torn cost an attempt, never data. So
// files are overwritten rather than made anew: a freed file goes to the pool and
// comes back under another name. Names are never used twice; blocks are.
//
// The share looks like this; several processes may have it open:
//
//	leases/<lease>/<name>   blobs of one attempt; the folder goes with the lease
//	pool/<name>             freed files
//	pages/                  see package pagelog
package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// PoolDefault bounds the freed files that one process keeps for reuse: one
// window, so that a steady backup makes no new file.
const PoolDefault = 512 << 20

// Reading a blob that is not there is tried looks times within lookFor: a network
// share may show a file to another host some seconds after its writer closed it.
const (
	looks   = 3
	lookFor = 5 * time.Second
)

var (
	// ErrMissing means a blob is not there, or not whole, and will not be.
	ErrMissing = errors.New("missing from staging")
	// ErrFull means the share has no space left. It may have later.
	ErrFull = errors.New("staging is full")
)

// Options of a share.
type Options struct {
	// PoolBytes is the most that freed files keep, by this process; more are
	// removed. 0: PoolDefault. Negative: none.
	PoolBytes int64
	// Room says whether there is room for so many bytes more; where it says no, Put
	// says ErrFull. Nil: the file system alone knows. Simulations fill shares with it.
	Room func(bytes int64) bool
}

// Share is one staging share. All methods may be called from many goroutines.
type Share struct {
	dir  string
	pool *pool
	room func(bytes int64) bool
}

// Open opens the share in dir, which it makes if need be. Files that an earlier
// process left in the pool are taken over.
func Open(dir string, o Options) (*Share, error) {
	if o.PoolBytes == 0 {
		o.PoolBytes = PoolDefault
	}
	s := &Share{dir: dir, room: o.Room, pool: newPool(filepath.Join(dir, "pool"), o.PoolBytes)}
	for _, d := range []string{s.leases(), s.pool.dir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open staging share: %w", err)
		}
	}
	return s, s.pool.adopt()
}

// Dir is where the share lies.
func (s *Share) Dir() string { return s.dir }

func (s *Share) leases() string { return filepath.Join(s.dir, "leases") }

// Put stores a blob under a name that its lease never used and never will, and
// returns what Read and Free take. When it returns, other processes can read the
// blob. ErrFull if there is no space.
func (s *Share) Put(lease, name string, body ...[]byte) (ref string, err error) {
	if !plain(lease) || !plain(name) {
		return "", fmt.Errorf("put %q/%q into staging: lease and name must be plain file names", lease, name)
	}
	if n := size(body); s.room != nil && !s.room(n) {
		return "", fmt.Errorf("put %s/%s into staging: %d bytes: %w", lease, name, n, ErrFull)
	}
	dir := filepath.Join(s.leases(), lease)
	err = s.pool.put(dir, name, body)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = s.pool.put(dir, name, body)
		}
	}
	return lease + "/" + name, wrap(err, "put %s/%s into staging", lease, name)
}

// Read fills p from the offset on. It waits, up to 5 s, for a blob that is not
// there or too short, and then says ErrMissing; at once if its lease is gone too,
// because nothing will come of that. The bytes may be another blob's if this one
// was freed meanwhile: only their hash tells.
func (s *Share) Read(ctx context.Context, ref string, p []byte, off int64) error {
	path, lease, err := s.path(ref)
	if err != nil {
		return err
	}
	for look := 1; ; look++ {
		err := readAt(path, p, off)
		if err == nil || !errors.Is(err, ErrMissing) {
			return err
		}
		if _, gone := os.Stat(lease); look == looks || errors.Is(gone, fs.ErrNotExist) {
			return err
		}
		if err := sleep(ctx, lookFor/(looks-1)); err != nil {
			return fmt.Errorf("read %s of staging: %w", ref, err)
		}
	}
}

// Look is Read that does not wait: ErrMissing says that the blob is not there yet, or
// no more.
func (s *Share) Look(ref string, p []byte, off int64) error {
	path, _, err := s.path(ref)
	if err != nil {
		return err
	}
	return readAt(path, p, off)
}

// Free gives a blob's space back. It is the same twice.
func (s *Share) Free(ref string) error {
	path, _, err := s.path(ref)
	if err != nil {
		return err
	}
	return wrap(s.pool.take(path), "free %s of staging", ref)
}

// Blob is one blob of a lease, as Blobs lists it.
type Blob struct {
	Ref, Name string
	Bytes     int64
}

// Blobs lists what a lease has in the share, by name. A lease that is not there
// has nothing.
func (s *Share) Blobs(lease string) ([]Blob, error) {
	files, err := os.ReadDir(filepath.Join(s.leases(), lease))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list lease %s in staging: %w", lease, err)
	}
	var all []Blob
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(f.Name(), ".") {
			continue // freed meanwhile, or torn by a crash
		} else if err != nil {
			return nil, fmt.Errorf("list lease %s in staging: %w", lease, err)
		}
		all = append(all, Blob{Ref: lease + "/" + f.Name(), Name: f.Name(), Bytes: info.Size()})
	}
	return all, nil
}

// RemoveLease removes all that a lease has, freed files apart. It is the same
// twice. Its blobs' space goes back to the file system and not to the pool: a
// lease that ends with blobs has failed, and a crash may have torn them.
func (s *Share) RemoveLease(lease string) error {
	if !plain(lease) {
		return fmt.Errorf("remove lease %q from staging: not a plain file name", lease)
	}
	return wrap(os.RemoveAll(filepath.Join(s.leases(), lease)), "remove lease %s from staging", lease)
}

// Leases lists the leases that have a folder in the share, in order.
func (s *Share) Leases() ([]string, error) {
	files, err := os.ReadDir(s.leases())
	if err != nil {
		return nil, fmt.Errorf("list leases in staging: %w", err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	sort.Strings(all)
	return all, nil
}

// path is where a blob lies, and its lease's folder. A ref comes over the wire: it must
// not lead out of the share, and nobody must wait for what one that is none names.
func (s *Share) path(ref string) (file, lease string, err error) {
	l, name, _ := strings.Cut(ref, "/")
	if !plain(l) || !plain(name) {
		return "", "", fmt.Errorf("%q names no blob in staging, want lease/name: %w", ref, ErrMissing)
	}
	lease = filepath.Join(s.leases(), l)
	return filepath.Join(lease, name), lease, nil
}

// plain reports whether s is a name of ours: one element of a path, not hidden.
func plain(s string) bool {
	return s != "" && s[0] != '.' && !strings.ContainsAny(s, "/\\\x00") && len(s) <= 200
}
