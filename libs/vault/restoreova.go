package vault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ova"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// descriptorMost bounds a kept descriptor, which is read into memory; one of 60
// disks has 60 KiB.
const descriptorMost = 4 << 20

// packing is what one OVA is made of.
type packing struct {
	machine ova.Machine
	disks   []*schemas.PointFile // as machine.Disks
	others  []*schemas.PointFile // as machine.Others
	kept    []byte               // the machine's own descriptor, if the point has it
	warn    []string
}

func (r *Reader) restoreOVA(ctx context.Context, p *Point, f Placed, force bool, done func(bytes, written uint64)) (warnings []string, err error) {
	tell := sumOf(done)
	o, err := r.packing(ctx, p, f, tell)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(path.Base(f.Path), ".ova") + ".ovf"
	return o.warn, writeWhole(path.Base(f.Path), f.Path, force, func(to *os.File) error {
		if err := to.Truncate(0); err != nil {
			return fmt.Errorf("restore %s: %w", f.Path, err)
		}
		w := ova.New(to, name, o.room(), time.UnixMilli(p.SnapshotMs).UTC())
		if err := r.pack(ctx, p, o, w, tell); err != nil {
			return err
		}
		if err := w.Close(o.describe()); err != nil {
			return fmt.Errorf("restore %s: %w", f.Path, err)
		}
		return nil
	})
}

// packing sorts the files of an OVA and gives each a name of its own within it.
func (r *Reader) packing(ctx context.Context, p *Point, placed Placed, tell func() func(bytes, written uint64)) (*packing, error) {
	o := &packing{machine: ova.Machine{Name: p.Machine.GetName()}, warn: slices.Clone(placed.Notes)}
	taken := map[string]bool{}
	free := func(name string) string {
		name = ova.Name(path.Base(name))
		for n, first := 2, name; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%d-%s", n, first)
		}
		taken[strings.ToLower(name)] = true
		return name
	}
	for _, f := range placed.Files {
		name := source.Raw(f.Name)
		switch {
		case isDisk(f):
			size := int64(max(1, (f.SizeBytes+sector-1)/sector) * sector)
			o.disks, o.warn = append(o.disks, f), append(o.warn, padded(f, VMDK)...)
			o.machine.Disks = append(o.machine.Disks, ova.Disk{File: free(VMDK.named(name)), Key: f.Key, Size: size})
		case o.kept == nil && strings.HasSuffix(strings.ToLower(name), ".ovf") && f.Kind == schemas.FileExported_KIND_CONFIG && f.SizeBytes <= descriptorMost:
			b := memory(make([]byte, f.SizeBytes))
			if err := r.Restore(ctx, p, f, b, RestoreOptions{Done: tell()}); err != nil {
				return nil, err
			}
			o.kept = b
		default:
			o.others = append(o.others, f)
			o.machine.Others = append(o.machine.Others, ova.Other{File: free(name), Size: int64(f.SizeBytes)})
		}
	}
	o.adapt()
	return o, nil
}

// adapt finds out whether the kept descriptor serves.
func (o *packing) adapt() {
	if o.kept == nil {
		o.warn = append(o.warn, ova.Unknown)
		return
	}
	_, missing, err := ova.Adapt(o.kept, o.machine)
	if err != nil {
		o.kept, o.warn = nil, append(o.warn, fmt.Sprintf("the OVF descriptor that the point keeps is not used: %v; %s", err, ova.Unknown))
	}
	for _, name := range missing {
		o.warn = append(o.warn, fmt.Sprintf("the OVF descriptor names %s, which the OVA does not hold", name))
	}
}

func (o *packing) describe() []byte {
	if o.kept == nil {
		return ova.Describe(o.machine)
	}
	b, _, _ := ova.Adapt(o.kept, o.machine) // adapt has seen it succeed
	return b
}

// room is the longest that the descriptor can become.
func (o *packing) room() int {
	for i := range o.machine.Disks {
		o.machine.Disks[i].Held = math.MaxInt64 // until it is known
	}
	return len(o.describe())
}

func (r *Reader) pack(ctx context.Context, p *Point, o *packing, w *ova.Writer, tell func() func(bytes, written uint64)) (err error) {
	for i, f := range o.disks {
		d := &o.machine.Disks[i]
		d.Held, err = w.Stream(d.File, func(to io.Writer) error { return r.EncodeVMDK(ctx, p, f, to, tell()) })
		if err != nil {
			return err
		}
	}
	for i, f := range o.others {
		err := w.Place(o.machine.Others[i].File, int64(f.SizeBytes), func(to io.WriterAt) error {
			return r.Restore(ctx, p, f, oneWay{to}, RestoreOptions{Done: tell()})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sumOf tells of several files as of one: each asks for what it is to call.
func sumOf(done func(bytes, written uint64)) func() func(bytes, written uint64) {
	var bytes, written, atBytes, atWritten uint64
	return func() func(uint64, uint64) {
		bytes, written = atBytes, atWritten
		return func(b, w uint64) {
			if atBytes, atWritten = bytes+b, written+w; done != nil {
				done(atBytes, atWritten)
			}
		}
	}
}

// memory is a sink for a small file.
type memory []byte

func (m memory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }
func (m memory) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m).ReadAt(b, at)
}
