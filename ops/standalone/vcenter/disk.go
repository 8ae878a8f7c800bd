package vcenter

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// disk is one disk of a machine: a chain of layers, as VMware's. The guest
// writes to top; what lies under it is frozen until a consolidation.
type disk struct {
	mu     sync.RWMutex
	key    int32
	kind   string // how it was declared: see Disk.Mode
	uuid   string
	root   string // local directory of the datastore
	marks  string // local directory of the layers' indexes
	top    *layer
	layers []*layer
	serial int // of the next delta's file
	track  tracking
}

// tracking is a disk's changed block tracking.
type tracking struct {
	id    string // "": off
	gen   uint32 // of the writes from now on
	since uint32 // generations before it were not tracked under this id
}

// snapped reports whether a snapshot freezes the disk.
func (d *disk) snapped() bool {
	switch d.kind {
	case "", string(types.VirtualDiskModePersistent), modeRDMVirtual, modeShared:
		return true
	}
	return false
}

// tracked reports whether changed block tracking can be had for it.
func (d *disk) tracked() bool {
	return d.kind == "" || d.kind == string(types.VirtualDiskModePersistent) || d.kind == modeRDMVirtual
}

// newDisk makes a disk with one empty base layer.
func (v *VCenter) newDisk(file object.DatastorePath, root, marks string, size int64) *disk {
	d := &disk{root: root, marks: marks, uuid: uuid.NewString(), track: tracking{gen: 1}, serial: 1}
	d.top = d.layer(file, size, true)
	d.layers = []*layer{d.top}
	return d
}

func (d *disk) layer(file object.DatastorePath, size int64, base bool) *layer {
	suffix := "-delta.vmdk"
	if base {
		suffix = "-flat.vmdk"
	}
	stem := strings.TrimSuffix(file.Path, ".vmdk")
	return &layer{file: file, base: base, size: size, gens: map[int64]uint32{},
		data:  filepath.Join(d.root, stem+suffix),
		index: filepath.Join(d.marks, path.Base(stem)+".blocks")}
}

// size is the disk's capacity in bytes.
func (d *disk) size() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.top.size
}

// freeze ends the top layer and begins a delta on it. What it returns is read
// until it is let go.
func (d *disk) freeze() (*frozen, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	under := d.top
	next, err := d.delta(under)
	if err != nil {
		return nil, err
	}
	d.top = next
	f := &frozen{layer: under, gen: d.track.gen, size: under.size}
	d.track.gen++
	if d.track.id != "" {
		f.change = fmt.Sprintf("%s/%d", d.track.id, f.gen)
	}
	return f, nil
}

// delta makes an empty one on a layer. d's lock is held.
func (d *disk) delta(under *layer) (*layer, error) {
	stem := strings.TrimSuffix(d.layers[0].file.Path, ".vmdk")
	file := object.DatastorePath{Datastore: under.file.Datastore, Path: fmt.Sprintf("%s-%06d.vmdk", stem, d.serial)}
	next := d.layer(file, under.size, false)
	next.parent = under
	if err := describe(d.root, next); err != nil {
		return nil, err
	}
	d.serial++
	d.layers = append(d.layers, next)
	return next, nil
}

// start begins tracking under a new id: what was written before is unknown to it.
func (d *disk) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.track.id, d.track.since = trackID(), d.track.gen
}

func (d *disk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.track.id = ""
}

// trackID is in the form of a real one: "52 8a 0f … -…".
func trackID() string {
	id := uuid.New()
	var b strings.Builder
	for i, c := range id {
		switch {
		case i == 8:
			b.WriteByte('-')
		case i > 0:
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%02x", c)
	}
	return b.String()
}

// frozen is a disk as one snapshot holds it.
type frozen struct {
	layer  *layer
	gen    uint32 // the last generation in it
	size   int64
	change string // "": not tracked
}

// consolidate merges every delta that no snapshot and no export needs into what
// lies under it. keep says which layers snapshots hold; moved is called for each
// that was merged away. It reports whether something is left for later.
func (d *disk) consolidate(keep func(*layer) bool, moved func(from, to *layer)) (left bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		child, waits := d.mergeable(keep)
		if child == nil {
			return waits, nil
		}
		under := child.parent
		if under == nil || child != d.top && !d.hasChild(child) && !keep(child) { // a branch that nobody needs
			err = errors.Join(err, child.remove())
			d.drop(child)
			continue
		}
		if err := under.absorb(child); err != nil {
			return true, err
		}
		for _, l := range d.layers {
			if l.parent == child {
				l.parent = under
			}
		}
		if d.top == child {
			d.top = under
		}
		moved(child, under)
		d.drop(child)
	}
}

// mergeable finds a layer whose parent no snapshot holds and that is its only
// child, or a leaf that nobody needs.
func (d *disk) mergeable(keep func(*layer) bool) (child *layer, waits bool) {
	for _, l := range d.layers {
		if l.parent == nil {
			continue
		}
		leaf := l != d.top && !d.hasChild(l) && !keep(l)
		if !leaf && (keep(l.parent) || d.children(l.parent) != 1) {
			continue
		}
		if l.held > 0 || !leaf && l.parent.held > 0 {
			waits = true
			continue
		}
		return l, waits
	}
	return nil, waits
}

func (d *disk) children(l *layer) (n int) {
	for _, c := range d.layers {
		if c.parent == l {
			n++
		}
	}
	return n
}

func (d *disk) hasChild(l *layer) bool { return d.children(l) > 0 }

func (d *disk) drop(l *layer) {
	for i := range d.layers {
		if d.layers[i] == l {
			d.layers = append(d.layers[:i], d.layers[i+1:]...)
			return
		}
	}
}

// hold keeps a layer from being merged until release.
func (d *disk) hold(l *layer, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; l != nil; l = l.parent {
		l.held += n
	}
}
