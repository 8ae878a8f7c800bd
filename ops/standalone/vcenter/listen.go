package vcenter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// remembered is a word that stays the same for a folder's life: what is given,
// or that of last time, or a new one.
func remembered(dir, name, given string, make func() string) (string, error) {
	file := filepath.Join(dir, name)
	if given == "" {
		b, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(b)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the vCenter's %s: %w", name, err)
		}
		given = make()
	}
	if err := os.WriteFile(file, []byte(given), 0o600); err != nil {
		return "", fmt.Errorf("keep the vCenter's %s: %w", name, err)
	}
	return given, nil
}

// listen takes the port of last time where it can, so that what people wrote
// down goes on working after a restart.
func (v *VCenter) listen(name string, port int) (net.Listener, error) {
	if port != 0 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return nil, fmt.Errorf("port of the vCenter: %w", err)
		}
		return l, nil
	}
	last, err := remembered(v.Dir, name, "", func() string { return "0" })
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", last))
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("port of the vCenter: %w", err)
		}
	}
	_, err = remembered(v.Dir, name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil)
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
