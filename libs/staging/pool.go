package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// pool is a folder of freed files, to be overwritten: on a local disk that costs
// a third less CPU than new files (no block allocation, no page cache to drop).
type pool struct {
	dir string
	max int64

	mu    sync.Mutex
	files []freed // the last freed is used first: its pages are still in the cache
	bytes int64
}

type freed struct {
	path  string
	bytes int64
}

// serial makes names in the pool unique within the process, process across them.
var serial atomic.Uint64

func newPool(dir string, max int64) *pool { return &pool{dir: dir, max: max} }

// adopt takes over what lies in the pool. Two processes may adopt one file; who
// renames it first has it.
func (p *pool) adopt() error {
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("open staging pool: %w", err)
	}
	for _, f := range files {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("open staging pool: %w", err)
		}
		path := filepath.Join(p.dir, f.Name())
		if !p.add(path, info.Size()) {
			os.Remove(path)
		}
	}
	return nil
}

// add counts a file in, if there is room for it.
func (p *pool) add(path string, bytes int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes+bytes > p.max {
		return false
	}
	p.files = append(p.files, freed{path, bytes})
	p.bytes += bytes
	return true
}

func (p *pool) pop() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.files) == 0 {
		return "", false
	}
	last := p.files[len(p.files)-1]
	p.files = p.files[:len(p.files)-1]
	p.bytes -= last.bytes
	return last.path, true
}

// take moves a file into the pool, or removes it if the pool has enough. A file
// that is not there is nobody's loss.
func (p *pool) take(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	to := filepath.Join(p.dir, fmt.Sprintf("%s.%d", process, serial.Add(1)))
	if !p.add(to, info.Size()) {
		err = os.Remove(path)
	} else if err = os.Rename(path, to); err != nil {
		p.drop(to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (p *pool) drop(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.files {
		if f.path == path {
			p.bytes -= f.bytes
			p.files = append(p.files[:i], p.files[i+1:]...)
			return
		}
	}
}

// put makes dir/name hold body, whole or not at all, from a freed file if there
// is one. The file is never in sight under its name before it is whole.
func (p *pool) put(dir, name string, body [][]byte) error {
	err := p.write(dir, name, body)
	if errors.Is(err, syscall.ENOSPC) && p.clear() {
		err = p.write(dir, name, body)
	}
	return err
}

func (p *pool) write(dir, name string, body [][]byte) error {
	tmp := filepath.Join(dir, "."+name)
	f, err := p.open(tmp)
	if err != nil {
		return err
	}
	err = overwrite(f, body)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, name))
}

func (p *pool) open(tmp string) (*os.File, error) {
	for {
		old, ok := p.pop()
		if !ok {
			return os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		}
		err := os.Rename(old, tmp)
		if err == nil {
			return os.OpenFile(tmp, os.O_WRONLY, 0)
		}
		if _, there := os.Stat(filepath.Dir(tmp)); there != nil {
			if info, err := os.Stat(old); err == nil {
				p.add(old, info.Size())
			}
			return nil, there
		}
	}
}

// clear removes every freed file, and reports whether that gave space.
func (p *pool) clear() bool {
	some := false
	for {
		path, ok := p.pop()
		if !ok {
			return some
		}
		some = os.Remove(path) == nil || some
	}
}
