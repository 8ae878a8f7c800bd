package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// markName is a file that tells this folder from all others. Without it, the
// empty folder under a share that is not mounted would be sure that no object
// exists, and would take new ones.
const markName = ".holdfast"

var errLost = errors.New("it is not the folder that was opened: is the share mounted?")

// look says whether the folder is marked. It is an error if it is not the one
// that this store has seen before.
func (s *Store) look() (marked bool, err error) {
	s.mu.Lock()
	before := s.mark // one that is set while we read says nothing about what we read
	s.mu.Unlock()
	b, err := os.ReadFile(filepath.Join(s.dir, markName))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && len(b) > 0 && s.mark == "":
		s.mark = string(b)
		return true, nil
	case err == nil && string(b) == s.mark && s.mark != "":
		return true, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("folder %s: %w", s.dir, err)
	case err == nil || before != "":
		return false, fmt.Errorf("folder %s: %w", s.dir, errLost)
	}
	_, err = os.Stat(s.dir)
	return false, err
}

// own marks the folder before its first object.
func (s *Store) own() error {
	marked, err := s.look()
	if err != nil || marked {
		return err
	}
	f, err := s.temp([][]byte{[]byte(rand.Text() + "\n")})
	if err != nil {
		return full(err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := s.dev.flush(f); err != nil {
		return full(err)
	}
	if err := os.Link(f.Name(), filepath.Join(s.dir, markName)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("mark folder %s (its file system must have hard links): %w", s.dir, err)
	}
	if err := s.dev.flushFolder(s.dir); err != nil {
		return err
	}
	_, err = s.look()
	return err
}
