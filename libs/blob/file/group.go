package file

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

const (
	// groupMax is how many objects are made durable together. Measured: fdatasync
	// of the shards of 8 packs side by side is the cheapest durable mode.
	groupMax = 8
	// durableMax bounds what is remembered of folders: 4096 names of 60 bytes.
	durableMax = 4096
)

// pending is an object whose bytes are written and that has no name yet.
type pending struct {
	key  string
	file *os.File
	dirs map[string]bool // folders to be flushed for its name
	err  error
	done chan struct{}
}

// enqueue hands p to the flusher. While one group is on its way to the device
// the next gathers: nobody waits for a group to fill.
func (s *Store) enqueue(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, p)
	if !s.flushing {
		s.flushing = true
		go s.flush()
	}
}

func (s *Store) flush() {
	for {
		s.mu.Lock()
		n := min(groupMax, len(s.queue))
		group := s.queue[:n:n]
		s.queue = s.queue[n:]
		s.flushing = n > 0
		s.mu.Unlock()
		if n == 0 {
			return
		}
		s.commit(group)
		for _, p := range group {
			close(p.done)
		}
	}
}

// commit makes a group durable: bytes, then names. The device sees each as one
// deep queue.
func (s *Store) commit(group []*pending) {
	var bytes sync.WaitGroup
	for _, p := range group {
		bytes.Go(func() {
			p.err = s.dev.flush(p.file)
			p.err = errors.Join(p.err, p.file.Close())
		})
	}
	bytes.Wait()
	var dirs []string
	for _, p := range group {
		if p.err == nil {
			p.err = s.name(p)
		}
		os.Remove(p.file.Name())
		dirs = slices.AppendSeq(dirs, maps.Keys(p.dirs))
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	errs := make([]error, len(dirs))
	var names sync.WaitGroup
	for i, d := range dirs {
		names.Go(func() { errs[i] = s.dev.flushFolder(s.path(d)) })
	}
	names.Wait()
	flushed := map[string]error{}
	for i, d := range dirs {
		flushed[d] = errs[i]
	}
	for _, p := range group {
		s.settle(p, flushed)
	}
}

// settle says how p ended. That a name is taken is an answer only when it is
// durable, so whoever finds it flushes it too.
func (s *Store) settle(p *pending, flushed map[string]error) {
	for d := range p.dirs {
		if err := flushed[d]; err != nil {
			p.err = err
			return
		}
	}
	if p.err != nil && !errors.Is(p.err, blob.ErrExist) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) > durableMax {
		clear(s.durable)
	}
	for d, ok := parent(p.key); ok; d, ok = parent(d) {
		s.durable[d] = true
	}
}

// name links p to its key.
func (s *Store) name(p *pending) error {
	s.tree.Lock()
	defer s.tree.Unlock()
	err := s.link(p)
	if errors.Is(err, fs.ErrNotExist) { // a Delete of another process took the folder that it emptied
		err = s.link(p)
	}
	return err
}

func (s *Store) link(p *pending) error {
	if err := s.makeDirs(p); err != nil {
		return err
	}
	err := os.Link(p.file.Name(), s.path(p.key))
	if errors.Is(err, fs.ErrExist) {
		if s.ours(p) {
			return nil
		}
		return fmt.Errorf("%w: %w", s.taken(p), err)
	}
	return err
}

// taken tells what has p's name from p by its size: others of one size are for
// whoever reads them.
func (s *Store) taken(p *pending) error {
	a, err := os.Lstat(p.file.Name())
	b, err2 := os.Lstat(s.path(p.key))
	if err == nil && err2 == nil && a.Size() != b.Size() {
		return blob.ErrDiffers
	}
	return blob.ErrExist
}

// ours tells a link that was made, and whose answer a share lost, from another's.
func (s *Store) ours(p *pending) bool {
	a, err := os.Lstat(p.file.Name())
	b, err2 := os.Lstat(s.path(p.key))
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// makeDirs makes the folders of p and notes which must be flushed: the one that
// gets its name, and each that got a folder which is not known to be durable,
// because the process that made it may have died before it flushed.
func (s *Store) makeDirs(p *pending) error {
	p.dirs = map[string]bool{folder(p.key): true}
	for at, c := range p.key {
		if c != '/' {
			continue
		}
		dir := p.key[:at]
		s.mu.Lock()
		known := s.durable[dir]
		s.mu.Unlock()
		if known {
			continue
		}
		if err := os.Mkdir(s.path(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		p.dirs[folder(dir)] = true
	}
	return nil
}

// folder is the one that holds a key or folder; empty: the store's own.
func folder(key string) string { dir, _ := parent(key); return dir }
