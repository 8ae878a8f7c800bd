package vcenter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// image is what lay in a disk when it was made: a file that many disks may share,
// and that none of them writes.
type image struct {
	path string
	size int64
	once sync.Once
	full []uint64 // bit b: block b is not all zero
	err  error
}

// read fills p with the image's bytes; past its end is zero.
func (i *image) read(p []byte, off int64) error {
	f, err := os.Open(i.path)
	if err != nil {
		return fmt.Errorf("read disk image: %w", err)
	}
	defer f.Close()
	n, err := f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read disk image %s at %d: %w", i.path, off, err)
	}
	clear(p[n:])
	return nil
}

// allocated is asked of each block by each export; so the image is looked at
// once. One that cannot be read counts as full: the reading will say why.
func (i *image) allocated(b int64) bool {
	i.once.Do(i.scan)
	return i.err != nil || int(b/64) < len(i.full) && i.full[b/64]>>(b%64)&1 == 1
}

func (i *image) scan() {
	f, err := os.Open(i.path)
	if err != nil {
		i.err = err
		return
	}
	defer f.Close()
	i.full = make([]uint64, i.size/block/64+1)
	i.err = data(f, i.size, func(b int64, _ []byte) error {
		i.full[b/64] |= 1 << (b % 64)
		return nil
	})
}

// data calls f with each block of r that is not all zero.
func data(r io.ReaderAt, size int64, f func(b int64, p []byte) error) error {
	buf := make([]byte, block)
	for b := int64(0); b*block < size; b++ {
		p := buf[:min(block, size-b*block)]
		n, err := r.ReadAt(p, b*block)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read disk content at %d: %w", b*block, err)
		}
		clear(p[n:])
		if !zero(p) {
			if err := f(b, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// imageOf finds or makes the image of a content. A file is shared where it
// stands; anything else is copied once into keep.
func (v *VCenter) imageOf(content io.ReaderAt, size int64, keep string) (*image, error) {
	if content == nil {
		return nil, nil
	}
	if f, ok := content.(*os.File); ok {
		path, err := filepath.Abs(f.Name())
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("disk content: %w", err)
		}
		return v.share(path, st.Size()), nil
	}
	out, err := os.OpenFile(keep, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep disk content: %w", err)
	}
	err = data(content, size, func(b int64, p []byte) error {
		_, err := out.WriteAt(p, b*block)
		return err
	})
	if err = errors.Join(err, out.Truncate(size), out.Close()); err != nil {
		return nil, fmt.Errorf("keep disk content: %w", err)
	}
	return v.share(keep, size), nil
}

// share gives all disks on one file the same image, so that it is scanned once.
func (v *VCenter) share(path string, size int64) *image {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := v.images[path]
	if i == nil {
		i = &image{path: path, size: size}
		v.images[path] = i
	}
	return i
}
