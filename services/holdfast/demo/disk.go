package demo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
)

// content is one file of this computer that goes into a disk.
type content struct {
	from string // here
	to   string // path in the disk
}

// makeDisk makes a sparse raw disk of size bytes at image with an ext4 file
// system that holds files.
func makeDisk(image, label string, size int64, files []content) error {
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("make disk %s: %w", image, err)
	}
	disk, err := ext4.Create(file.New(f, false), size, 0, 512, &ext4.Params{VolumeName: label, Checksum: true})
	if err != nil {
		return fmt.Errorf("make file system in %s: %w", image, err)
	}
	return errors.Join(fill(disk, files), disk.Close())
}

// changeDisk writes files into the disk that is there, as its guest would.
func changeDisk(image string, files []content) error {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	disk, err := ext4.Read(file.New(f, false), st.Size(), 0, 512)
	if err != nil {
		return fmt.Errorf("read file system in %s: %w", image, err)
	}
	return errors.Join(fill(disk, files), disk.Close())
}

func fill(disk *ext4.FileSystem, files []content) error {
	made := map[string]bool{}
	for _, c := range files {
		if dir := strings.TrimPrefix(path.Dir(c.to), "/"); !made[dir] {
			if err := disk.Mkdir(dir); err != nil {
				return fmt.Errorf("make folder %s: %w", dir, err)
			}
			made[dir] = true
		}
		if err := put(disk, c); err != nil {
			return fmt.Errorf("write %s: %w", c.to, err)
		}
	}
	return nil
}

func put(disk *ext4.FileSystem, c content) error {
	from, err := os.Open(c.from)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil // it went, or is not for us: the disk does without it
	}
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := disk.OpenFile(strings.TrimPrefix(c.to, "/"), os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
