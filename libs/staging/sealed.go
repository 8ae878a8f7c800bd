package staging

import (
	"context"
	"crypto/rand"
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

	"github.com/holdfast-backup/holdfast/schemas"
)

const (
	// ReserveDefault is what one process may have in the sealed area: 64 packs
	// held by the uploader and 2 a sealer, of 16 MiB, doubled.
	ReserveDefault = 2 << 30
	// deadAfter is how long a process's folder lies untouched before it is swept.
	// Too early costs an attempt, never data.
	deadAfter = time.Hour
	// staleAfter is how long a pack may lie in the area. Nobody waits for an older
	// one: leases end after 15 minutes without progress. An uploader that died
	// between its commit and the removal leaves one, whose sealer may live for months.
	staleAfter = 24 * time.Hour
	// lookEvery is how often a sealer that waits looks for what another process
	// removed.
	lookEvery = time.Second
	// keptPacks bounds the removed files that a process keeps for reuse: what is
	// under way at once between two sealers and an uploader.
	keptPacks = 128 << 20
	// freedDir is where, in a process's folder.
	freedDir = ".free"
)

// process names this process, so that each knows its own files.
var process = func() string {
	var u schemas.UUID
	rand.Read(u[:])
	return u.String()
}()

// Sealed is the area of packs on their way to the targets. It is apart from the
// leases' windows, because windows drain through it: were they one space, full
// windows would leave no room for the packs that empty them. Each process has a
// folder and a reserve of its own, so only a sealer waits for space, and only
// for its own packs.
//
// All methods may be called from many goroutines.
type Sealed struct {
	dir, own string
	reserve  int64
	pool     *pool

	mu    sync.Mutex
	used  map[string]used // by name, of own
	bytes int64
	freed chan struct{} // closed and made anew when something goes
}

type used struct {
	bytes int64
	whole bool // it is under its name; before, its absence says nothing
}

// OpenSealed opens the sealed area in dir for this process. reserve 0: ReserveDefault.
func OpenSealed(dir string, reserve int64) (*Sealed, error) {
	if reserve == 0 {
		reserve = ReserveDefault
	}
	id := fmt.Sprintf("%s.%d", process, serial.Add(1))
	s := &Sealed{dir: dir, own: id, reserve: reserve, used: map[string]used{}, freed: make(chan struct{})}
	s.pool = newPool(filepath.Join(dir, id, freedDir), min(keptPacks, reserve/4))
	if err := os.MkdirAll(s.pool.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open sealed area: %w", err)
	}
	return s, s.unpool()
}

// unpool removes what others keep for reuse. A process that dies every minute would
// else leave keptPacks each time, until each is swept: 7 GB in that hour. Whoever of
// them lives makes new files instead, once; so nobody need be known to be dead.
func (s *Sealed) unpool() error {
	dirs, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("open sealed area: %w", err)
	}
	for _, d := range dirs {
		dir := filepath.Join(s.dir, d.Name(), freedDir)
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		} else if err != nil {
			return fmt.Errorf("open sealed area: %w", err)
		}
		for _, f := range files {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("open sealed area: %w", err)
			}
		}
	}
	return nil
}

// Put stores a pack under a name never used before. While this process's reserve
// is full it waits for Remove, here or in another process, or for ctx.
func (s *Sealed) Put(ctx context.Context, name string, body ...[]byte) (ref string, err error) {
	if !plain(name) {
		return "", fmt.Errorf("put %q into the sealed area: not a plain file name", name)
	}
	n := size(body)
	if n > s.reserve {
		return "", fmt.Errorf("put %s into the sealed area: %d bytes, the reserve is %d", name, n, s.reserve)
	}
	if err := s.claim(ctx, name, n); err != nil {
		return "", fmt.Errorf("put %s into the sealed area: %w", name, err)
	}
	if err := s.pool.put(filepath.Join(s.dir, s.own), name, body); err != nil {
		s.release(name)
		return "", wrap(err, "put %s into the sealed area", name)
	}
	s.mu.Lock()
	if u, ok := s.used[name]; ok {
		u.whole = true
		s.used[name] = u
	}
	s.mu.Unlock()
	return s.own + "/" + name, nil
}

// Read returns a whole pack, or ErrMissing. The bytes come in buf where it has room for them, else in memory of their own.
func (s *Sealed) Read(ref string, buf []byte) ([]byte, error) {
	path, _, err := s.path(ref)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read sealed %s: %w", ref, ErrMissing)
	}
	if err != nil {
		return nil, wrap(err, "read sealed %s", ref)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, wrap(err, "read sealed %s", ref)
	}
	if int64(cap(buf)) < info.Size() {
		buf = make([]byte, info.Size())
	}
	buf = buf[:info.Size()]
	if _, err := io.ReadFull(f, buf); err != nil {
		return nil, wrap(err, "read sealed %s", ref)
	}
	return buf, nil
}

// Remove removes a pack, of whatever process. It is the same twice.
func (s *Sealed) Remove(ref string) error {
	path, name, err := s.path(ref)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(ref, s.own+"/") {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove sealed %s: %w", ref, err)
		}
		return nil
	}
	if err := s.pool.take(path); err != nil {
		return fmt.Errorf("remove sealed %s: %w", ref, err)
	}
	s.release(name)
	return nil
}

// Bytes is what this process has in the area, removed files apart.
func (s *Sealed) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Sweep touches this process's folder, removes its packs that are a day old, and
// the folders of others that were not touched for an hour. Call it every ten minutes
// or so: who doesn't, is dead.
// Ages are told by the share's own clock, on both sides of the comparison.
func (s *Sealed) Sweep() error {
	if err := s.touch(); err != nil {
		return err
	}
	own, err := os.Stat(filepath.Join(s.dir, s.own))
	if err != nil {
		return fmt.Errorf("sweep sealed area: %w", err)
	}
	dirs, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("sweep sealed area: %w", err)
	}
	for _, d := range dirs {
		info, err := d.Info()
		if err != nil || !d.IsDir() || own.ModTime().Sub(info.ModTime()) < deadAfter {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, d.Name())); err != nil {
			return fmt.Errorf("sweep sealed area: %w", err)
		}
	}
	return s.sweepOwn(own.ModTime())
}

func (s *Sealed) sweepOwn(now time.Time) error {
	files, err := os.ReadDir(filepath.Join(s.dir, s.own))
	if err != nil {
		return fmt.Errorf("sweep sealed area: %w", err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || f.IsDir() || now.Sub(info.ModTime()) < staleAfter {
			continue
		}
		if err := s.Remove(s.own + "/" + f.Name()); err != nil {
			return err
		}
	}
	return nil
}

// touch makes the folder look alive, by a change in it: its time is then the
// share's, whatever this host's clock says.
func (s *Sealed) touch() error {
	mark := filepath.Join(s.dir, s.own, ".alive")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("touch sealed area: %w", err)
	}
	return os.Remove(mark)
}

// Close removes this process's folder, with the packs in it. For tests, and for
// a process that never sealed.
func (s *Sealed) Close() error { return os.RemoveAll(filepath.Join(s.dir, s.own)) }

func (s *Sealed) claim(ctx context.Context, name string, n int64) error {
	for {
		s.mu.Lock()
		if s.bytes+n <= s.reserve {
			s.used[name] = used{bytes: n}
			s.bytes += n
			s.mu.Unlock()
			return nil
		}
		freed := s.freed
		s.mu.Unlock()
		t := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-freed:
		case <-t.C:
			if err := s.look(); err != nil {
				t.Stop()
				return err
			}
		}
		t.Stop()
	}
}

// look counts out what another process removed.
func (s *Sealed) look() error {
	s.mu.Lock()
	before := make([]string, 0, len(s.used))
	for name, u := range s.used {
		if u.whole {
			before = append(before, name)
		}
	}
	s.mu.Unlock()
	if err := s.touch(); err != nil { // a sealer that waits is alive
		return err
	}
	for _, name := range before {
		if _, err := os.Stat(filepath.Join(s.dir, s.own, name)); errors.Is(err, fs.ErrNotExist) {
			s.release(name)
		}
	}
	return nil
}

func (s *Sealed) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.used[name]; ok {
		delete(s.used, name)
		s.bytes -= u.bytes
		close(s.freed)
		s.freed = make(chan struct{})
	}
}

func (s *Sealed) path(ref string) (path, name string, err error) {
	owner, name, _ := strings.Cut(ref, "/")
	if !plain(owner) || !plain(name) {
		return "", "", fmt.Errorf("%q names no pack in the sealed area, want process/name: %w", ref, ErrMissing)
	}
	return filepath.Join(s.dir, owner, name), name, nil
}
