package file

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/blob"
)

// platter is the worst device there is: of what was not flushed it keeps nothing.
type platter struct {
	mu    sync.Mutex
	bytes map[uint64][]byte            // of files, by inode
	names map[uint64]map[string]uint64 // of folders, by inode: where each name leads
	torn  []string                     // names that were there before their bytes
}

func inode(i fs.FileInfo) uint64 { return i.Sys().(*syscall.Stat_t).Ino }

func (p *platter) flush(f *os.File) error {
	i, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(f.Name())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes[inode(i)] = b
	return err
}

func (p *platter) flushFolder(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, err := os.Stat(path)
	if err != nil {
		return err
	}
	all, err := os.ReadDir(path)
	names := map[string]uint64{}
	for _, d := range all {
		i, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		names[d.Name()] = inode(i)
		if _, whole := p.bytes[inode(i)]; i.Mode().IsRegular() && !whole {
			p.torn = append(p.torn, filepath.Join(path, d.Name()))
		}
	}
	p.names[inode(of)] = names
	return err
}

// left is what stands under a key after the power was cut now.
func (p *platter) left(dir, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	at := inode(i)
	for _, name := range strings.Split(key, "/") {
		to, ok := p.names[at][name]
		if !ok {
			return nil, fmt.Errorf("%q leads nowhere", name)
		}
		at = to
	}
	return p.bytes[at], nil
}

// Goal: when a put has answered, the object outlives a loss of power, and what
// power leaves under a name is whole. Method: a device that keeps only what was
// flushed; two stores put objects of one folder, some of them both, and after each
// answer the power might be cut.
func TestAPowerCutTakesNothing(t *testing.T) {
	dir := t.TempDir()
	p := &platter{bytes: map[uint64][]byte{}, names: map[uint64]map[string]uint64{}}
	var puts sync.WaitGroup
	for range 2 {
		s, err := openOn(p, dir)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 64 {
			puts.Go(func() {
				key, body := fmt.Sprintf("packs/%d/%d/%d.g0", n%3, n%7, n), bytes.Repeat([]byte{byte(n)}, 1+100*n)
				if err := s.Put(t.Context(), key, body[:n], body[n:]); err != nil && !errors.Is(err, blob.ErrExist) {
					t.Errorf("put %s: %v", key, err)
				}
				if got, err := p.left(dir, key); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s is answered, and a loss of power leaves %d of %d bytes: %v", key, len(got), len(body), err)
				}
			})
		}
	}
	puts.Wait()
	if len(p.torn) > 0 {
		t.Errorf("names that a loss of power would leave without their bytes: %q", p.torn)
	}
	if _, err := p.left(dir, markName); err != nil {
		t.Errorf("the folder's mark: %v", err)
	}
}
