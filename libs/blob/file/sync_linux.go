package file

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// startSync has the device begin with what was written, so that the wait for it
// is short. It promises nothing.
func startSync(f *os.File) {
	unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

// dataSync waits until the bytes, and the length that is needed to read them,
// are on the device.
func dataSync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// Free is what an ordinary user may still write.
func (s *Store) Free(context.Context) (bytes int64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}
