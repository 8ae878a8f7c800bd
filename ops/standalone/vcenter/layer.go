package vcenter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/vmware/govmomi/object"
)

// block is the unit of allocation, of copying up and of change tracking: what a
// real vCenter tracks by on disks of up to 256 GiB or so.
const block = 64 << 10

// deltaHead goes before the blocks of a delta's file, so that nobody who reads
// it as if it were flat takes it for a disk.
const deltaHead = block

// layer is one file of a disk's chain: the base, or the delta of a snapshot.
// Its disk's lock guards it.
type layer struct {
	file   object.DatastorePath // of its descriptor
	data   string               // local path of its extent; not there until the first write
	index  string               // local path of its generations
	base   bool
	size   int64
	parent *layer
	image  *image           // what lies under a base
	gens   map[int64]uint32 // block: generation of its last write. Absent: not in this layer
	held   int              // exports that read it: it is not merged away under them
}

// at is where a block of the layer lies in its file.
func (l *layer) at(b int64) int64 {
	if l.base {
		return b * block
	}
	return deltaHead + b*block
}

// owner is the layer that holds a block as seen from l; nil: the image, or none.
func (l *layer) owner(b int64) *layer {
	for ; l != nil; l = l.parent {
		if _, ok := l.gens[b]; ok {
			return l
		}
	}
	return nil
}

// root is the base of the chain.
func (l *layer) root() *layer {
	for l.parent != nil {
		l = l.parent
	}
	return l
}

// allocated reports whether a block was ever written, as VMFS knows it of a thin disk.
func (l *layer) allocated(b int64) bool {
	if l.owner(b) != nil {
		return true
	}
	img := l.root().image
	return img != nil && img.allocated(b)
}

// read fills p with what is seen from l at off; past its size is zero.
func (l *layer) read(p []byte, off int64) error {
	for len(p) > 0 {
		b := off / block
		own := l.owner(b)
		n := min(int64(len(p)), (b+1)*block-off)
		for n < int64(len(p)) && l.owner(b+1) == own {
			b++
			n = min(int64(len(p)), (b+1)*block-off)
		}
		if err := l.fill(own, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (l *layer) fill(own *layer, p []byte, off int64) error {
	if own != nil {
		return own.load(p, off)
	}
	if img := l.root().image; img != nil {
		return img.read(p, off)
	}
	clear(p)
	return nil
}

// load reads blocks that are all in l's own file.
func (l *layer) load(p []byte, off int64) error {
	f, err := os.Open(l.data)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.file.String(), err)
	}
	defer f.Close()
	n, err := f.ReadAt(p, l.at(0)+off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s at %d: %w", l.file.String(), off, err)
	}
	clear(p[n:])
	return nil
}

// write puts p, as seen from l on, into l's own file. A block that is written in
// part is copied up first.
func (l *layer) write(p []byte, off int64, gen uint32) error {
	if len(p) == 0 {
		return nil
	}
	from, to := off/block*block, min((off+int64(len(p))+block-1)/block*block, max(l.size, off+int64(len(p))))
	whole := p
	if from != off || to != off+int64(len(p)) {
		whole = make([]byte, to-from)
		if err := l.read(whole, from); err != nil {
			return err
		}
		copy(whole[off-from:], p)
	}
	f, err := l.open()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(whole, l.at(0)+from)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s at %d: %w", l.file.String(), off, err)
	}
	return l.mark(from/block, (to+block-1)/block, gen)
}

// open opens the extent, made with its head if it is not there yet.
func (l *layer) open() (*os.File, error) {
	f, err := os.OpenFile(l.data, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", l.file.String(), err)
	}
	if st, err := f.Stat(); err == nil && st.Size() == 0 {
		err = f.Truncate(l.at(0) + l.size)
		if err == nil && !l.base {
			_, err = f.WriteAt([]byte("HOLDFAST DEMO DELTA: sparse, in a layout of its own\n"), 0)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("make %s: %w", l.file.String(), err)
		}
	}
	return f, nil
}

// mark notes who wrote blocks [from, to) last, here and in the index, which is
// written after the data: a block that a crash left out of it was never written.
func (l *layer) mark(from, to int64, gen uint32) error {
	row, same := make([]byte, 0, 4*(to-from)), true
	for b := from; b < to; b++ {
		old, ok := l.gens[b]
		same = same && ok && old == gen
		l.gens[b] = gen
		row = binary.LittleEndian.AppendUint32(row, gen+1)
	}
	if same {
		return nil
	}
	f, err := os.OpenFile(l.index, os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // it went with a machine of the same id, as this one was made
		if err = os.MkdirAll(filepath.Dir(l.index), 0o700); err == nil {
			f, err = os.OpenFile(l.index, os.O_WRONLY|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("note blocks of %s: %w", l.file.String(), err)
	}
	_, err = f.WriteAt(row, 4*from)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note blocks of %s: %w", l.file.String(), err)
	}
	return nil
}

// recall reads the index of an earlier run.
func (l *layer) recall() error {
	row, err := os.ReadFile(l.index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recall blocks of %s: %w", l.file.String(), err)
	}
	for b := int64(0); int64(len(row)) >= 4*(b+1); b++ {
		if gen := binary.LittleEndian.Uint32(row[4*b:]); gen > 0 {
			l.gens[b] = gen - 1
		}
	}
	return nil
}

// blocks lists what the layer holds, ascending.
func (l *layer) blocks() []int64 {
	all := make([]int64, 0, len(l.gens))
	for b := range l.gens {
		all = append(all, b)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all
}

// absorb takes over what a child holds: the merge of a consolidation.
func (l *layer) absorb(child *layer) error {
	l.size = max(l.size, child.size)
	buf := make([]byte, block)
	for _, b := range child.blocks() {
		p := buf[:min(block, l.size-b*block)]
		if err := child.load(p, b*block); err != nil {
			return err
		}
		if err := l.write(p, b*block, child.gens[b]); err != nil {
			return err
		}
	}
	return child.remove()
}

// remove deletes the layer's files.
func (l *layer) remove() error {
	var errs []error
	for _, p := range []string{l.data, l.index, filepath.Join(filepath.Dir(l.data), filepath.Base(l.file.Path))} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
