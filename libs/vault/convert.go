package vault

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/holdfast-backup/holdfast/libs/qcow2"
	"github.com/holdfast-backup/holdfast/libs/vmdk"
	"github.com/holdfast-backup/holdfast/schemas"
)

// RestorePlaced restores one file that Place placed, or all that go into one OVA,
// and returns what the operator should know of it. All formats are whole or not
// there, as RestoreFile says; only raw goes on where it was cut off, the others
// begin anew.
func (r *Reader) RestorePlaced(ctx context.Context, p *Point, f Placed, force bool, done func(bytes, written uint64)) (warnings []string, err error) {
	if f.As == OVA {
		return r.restoreOVA(ctx, p, f, force, done)
	}
	disk := f.Files[0]
	if f.As == Raw {
		return f.Notes, r.RestoreFile(ctx, p, disk, f.Path, force, done)
	}
	return padded(disk, f.As), writeWhole(disk.Name, f.Path, force, func(to *os.File) error {
		if err := to.Truncate(0); err != nil {
			return fmt.Errorf("restore %s: %w", disk.Name, err)
		}
		if f.As == QCOW2 {
			return r.encodeQCOW2(ctx, p, disk, to, done)
		}
		return r.EncodeVMDK(ctx, p, disk, to, done)
	})
}

func (r *Reader) encodeQCOW2(ctx context.Context, p *Point, f *schemas.PointFile, to *os.File, done func(bytes, written uint64)) error {
	w, err := qcow2.New(to, int64(f.SizeBytes))
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	if err := r.Restore(ctx, p, f, oneWay{w}, RestoreOptions{Done: done}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	return nil
}

// oneWay is a sink for a restore that does not compare.
type oneWay struct{ io.WriterAt }

func (oneWay) ReadAt([]byte, int64) (int, error) { return 0, errOneWay }

// EncodeVMDK writes a disk as a streamOptimized VMDK, forward only, as an import
// takes it. It keeps streamBytes of the disk in memory.
func (r *Reader) EncodeVMDK(ctx context.Context, p *Point, f *schemas.PointFile, to io.Writer, done func(bytes, written uint64)) error {
	w, err := vmdk.NewWriter(to, vmdk.Options{Size: int64(f.SizeBytes)})
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	g := &grains{to: w, size: int64(f.SizeBytes)}
	if err := r.Stream(ctx, p, f, g.put, done); err != nil {
		return err
	}
	if err := g.flush(); err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("restore %s: %w", f.Name, err)
	}
	return nil
}

// grains makes grains of chunks, which are smaller or larger.
type grains struct {
	to   *vmdk.Writer
	size int64
	at   int64  // of the grain that is open
	b    []byte // nil: none is
	room [vmdk.GrainSize]byte
}

func (g *grains) put(off int64, b []byte) error {
	for len(b) > 0 {
		if at := off - off%vmdk.GrainSize; at != g.at || g.b == nil {
			if err := g.flush(); err != nil {
				return err
			}
			g.at, g.b = at, g.room[:min(vmdk.GrainSize, g.size-at)]
			clear(g.b)
		}
		n := copy(g.b[off-g.at:], b)
		off, b = off+int64(n), b[n:]
	}
	return nil
}

func (g *grains) flush() error {
	if g.b == nil {
		return nil
	}
	err := g.to.WriteGrain(g.at, g.b)
	g.b = nil
	return err
}
