package up

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// layout is the version of the data folder. A folder of another version is
// refused, not guessed at.
const layout = "1"

// folder is a data folder that is ours alone.
type folder struct {
	path string
	lock *os.File
}

// openFolder makes and locks a data folder.
func openFolder(path string) (*folder, error) {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("data folder %s is a file", path)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data folder %s is in use by another process", path)
	}
	f := &folder{path, lock}
	if err := f.version(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *folder) version() error {
	file := filepath.Join(f.path, "version")
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if err := writeNew(file, []byte(layout+"\n")); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if got := strings.TrimSpace(string(b)); got != layout {
		return fmt.Errorf("data folder %s is of version %q, this program works with %s: start it with the program that made it, or choose another --data", f.path, got, layout)
	}
	return nil
}

func (f *folder) close() { f.lock.Close() }
