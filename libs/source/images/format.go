package images

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// formats are images that hold a disk rather than are one, by their first bytes.
var formats = []struct{ magic, name string }{
	{"QFI\xfb", "a qcow2 image"},
	{"KDMV", "a sparse VMDK"},
	{"COWD", "a sparse VMDK"},
	{"conectix", "a VHD"},
	{"vhdxfile", "a VHDX"},
	{"<<< ", "a VDI"},
}

// format names the image format of a file that is no raw disk, or nothing. What
// can't be read is for the reader to tell.
func format(dir string, e *entry) string {
	f, err := os.OpenFile(filepath.Join(dir, e.rel), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	var head [8]byte
	f.ReadAt(head[:], 0)
	for _, k := range formats {
		if strings.HasPrefix(string(head[:]), k.magic) {
			return k.name
		}
	}
	return ""
}
