// Package file is an object store in a folder: a local disk, or a share over NFS
// or SMB. A key is a path below the folder.
//
// An object is written under a hidden name, flushed, linked to its own name, and
// then the folder is flushed: so a name that is there names a whole object, and
// link(2) gives it to one writer only, on a share too. The price, two waits for
// the device, is shared: see group.go.
//
// Mount shares hard and with lookupcache=none, so that a listing shows what
// another host has put.
package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

const (
	// tempDir holds objects that have no name yet.
	tempDir = ".tmp"
	// leftover is how old one must be before it is taken for a dead writer's: far
	// longer than a Put. Too early costs that Put, never an object.
	leftover = time.Hour
)

// Store is a blob.Store in one folder.
type Store struct {
	dir string
	dev device

	mu       sync.Mutex
	mark     string          // what the folder's mark says; empty until it was read
	durable  map[string]bool // folders whose own name is on the device
	queue    []*pending
	flushing bool

	tree sync.Mutex // a folder is not removed between its making and its first object
}

var _ blob.Store = (*Store)(nil)

// Open opens the folder, which is made if it is not there, and removes what dead
// writers left in it. A folder that can't be written to can still be read.
func Open(dir string) (*Store, error) { return openOn(disk{}, dir) }

func openOn(dev device, dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	i, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make store: %w", err)
		}
		err = dev.flushFolder(filepath.Dir(dir))
		i, _ = os.Stat(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if i == nil || !i.IsDir() {
		return nil, fmt.Errorf("open store: %s is a file, want a folder", dir)
	}
	s := &Store{dir: dir, dev: dev, durable: map[string]bool{}}
	s.sweep()
	return s, nil
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

func (s *Store) sweep() {
	names, err := os.ReadDir(filepath.Join(s.dir, tempDir))
	if err != nil {
		return // none, or read only
	}
	for _, n := range names {
		if i, err := n.Info(); err == nil && time.Since(i.ModTime()) > leftover {
			os.Remove(filepath.Join(s.dir, tempDir, n.Name()))
		}
	}
}

// Put makes the object. Once its bytes are written, a context that ends stops
// only the waiting.
func (s *Store) Put(ctx context.Context, key string, body ...[]byte) error {
	if err := start(ctx, key); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.own(); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	f, err := s.temp(body)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, full(err))
	}
	p := &pending{key: key, file: f, done: make(chan struct{})}
	s.enqueue(p)
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("put %s: %w", key, context.Cause(ctx))
	}
	if p.err != nil {
		return fmt.Errorf("put %s: %w", key, full(p.err))
	}
	return nil
}

// temp writes the bytes under a hidden name and has the device begin with them.
func (s *Store) temp(body [][]byte) (*os.File, error) {
	var name [16]byte
	rand.Read(name[:])
	path := filepath.Join(s.dir, tempDir, hex.EncodeToString(name[:]))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return nil, err
	}
	for _, b := range body {
		if _, err := f.Write(b); err != nil {
			f.Close()
			os.Remove(path)
			return nil, err
		}
	}
	startSync(f)
	return f, nil
}

func (s *Store) Get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := s.get(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if err := start(ctx, key); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, s.sure(err)
	}
	defer f.Close()
	i, err := f.Stat()
	switch size := int64(0); {
	case err != nil:
		return nil, err
	case i.IsDir():
		return nil, blob.ErrNotExist
	case off < 0:
		return nil, fmt.Errorf("offset %d", off)
	default:
		if size = i.Size(); off > size || n > size-off {
			return nil, fmt.Errorf("%d bytes from %d of %d: %w", n, off, size, io.ErrUnexpectedEOF)
		}
		if n < 0 {
			n = size - off
		}
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil && !(n == 0 && err == io.EOF) {
		return nil, fmt.Errorf("%d bytes from %d: %w", n, off, err)
	}
	return b, nil
}

func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	err := start(ctx, key)
	if err == nil {
		var i fs.FileInfo
		if i, err = os.Stat(s.path(key)); err == nil && !i.IsDir() {
			return blob.Info{Key: key, Size: i.Size()}, nil
		}
		if err == nil {
			err = blob.ErrNotExist
		}
		err = s.sure(err)
	}
	return blob.Info{}, fmt.Errorf("stat %s: %w", key, err)
}

// Delete also removes the folders that become empty.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := start(ctx, key)
	if err == nil {
		err = s.sure(os.Remove(s.path(key)))
	}
	if err != nil && !errors.Is(err, blob.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	for dir, ok := parent(key); ok; dir, ok = parent(dir) {
		s.mu.Lock()
		err := syscall.Rmdir(s.path(dir))
		if err == nil {
			delete(s.durable, dir)
		}
		s.mu.Unlock()
		if err != nil { // it is not empty, or somebody was faster
			break
		}
	}
	return nil
}

// parent is the folder of a key or folder, unless that is the store's own.
func parent(key string) (string, bool) {
	i := strings.LastIndexByte(key, '/')
	return key[:max(i, 0)], i > 0
}

func start(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return blob.CheckKey(key)
}

// sure turns "no such file" into blob.ErrNotExist, if the folder is the one that
// was opened.
func (s *Store) sure(err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	if _, lost := s.look(); lost != nil {
		return lost
	}
	return fmt.Errorf("%w: %w", blob.ErrNotExist, err)
}

func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return err
}
