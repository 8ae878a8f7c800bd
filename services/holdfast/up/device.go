package up

import (
	"fmt"
	"os"
	"syscall"
)

// oneDevice reports whether all folders lie on one file system, and which.
func oneDevice(paths []string) (string, bool) {
	var first uint64
	for i, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return "", false
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok || i > 0 && uint64(sys.Dev) != first {
			return "", false
		}
		first = uint64(sys.Dev)
	}
	return fmt.Sprintf("device %d:%d", first>>8&0xfff, first&0xff), len(paths) > 1
}
