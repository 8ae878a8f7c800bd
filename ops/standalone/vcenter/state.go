package vcenter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// kept is what a machine's state file holds; the blocks of its layers have files
// of their own.
type kept struct {
	Spec          Machine
	Dir           string
	Asked, Active bool
	Gone          int
	Disks         []keptDisk
	Snapshots     []keptSnapshot
	Current       int // place in Snapshots; -1: none
}

type keptDisk struct {
	Key    int32
	Kind   string
	UUID   string
	Serial int
	Track  string
	Gen    uint32
	Since  uint32
	Image  string
	Bytes  int64 // of the image
	Top    int   // place in Layers
	Layers []keptLayer
}

type keptLayer struct {
	File   string
	Index  string
	Base   bool
	Size   int64
	Parent int // place in Layers; -1: none
}

type keptSnapshot struct {
	Name, Desc string
	Quiesced   bool
	Made       time.Time
	Parent     int
	Frozen     map[int32]keptFrozen
}

type keptFrozen struct {
	Layer  int
	Gen    uint32
	Size   int64
	Change string
}

const stateFile = "machine.json"

// keep writes the machine's state, whole or not at all.
func (v *VCenter) keep(m *machine) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.MarshalIndent(m.kept(), "", " ")
	if err != nil {
		return fmt.Errorf("keep %s: %w", m.spec.Name, err)
	}
	file := filepath.Join(m.marks, stateFile)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", m.spec.Name, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("keep %s: %w", m.spec.Name, err)
	}
	return nil
}

func (v *VCenter) keepOrLog(m *machine) {
	if err := v.keep(m); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been destroyed since
		v.Log.Error("keep state", "machine", m.id, "error", err)
	}
}

func (v *VCenter) keepAll() error {
	v.mu.Lock()
	all := make([]*machine, 0, len(v.machines))
	for _, m := range v.machines {
		all = append(all, m)
	}
	v.mu.Unlock()
	var errs []error
	for _, m := range all {
		errs = append(errs, v.keep(m))
	}
	return errors.Join(errs...)
}

func (m *machine) kept() kept {
	k := kept{Spec: m.spec, Dir: m.dir, Asked: m.asked, Active: m.active, Gone: m.gone, Current: -1}
	k.Spec.Disks = nil
	at := map[*layer]int{}
	for _, d := range m.disks {
		d.mu.RLock()
		one := keptDisk{Key: d.key, Kind: d.kind, UUID: d.uuid, Serial: d.serial, Track: d.track.id, Gen: d.track.gen, Since: d.track.since}
		for i, l := range d.layers {
			at[l] = i
		}
		for _, l := range d.layers {
			parent := -1
			if l.parent != nil {
				parent = at[l.parent]
			}
			one.Layers = append(one.Layers, keptLayer{l.file.String(), filepath.Base(l.index), l.base, l.size, parent})
			if l.image != nil {
				one.Image, one.Bytes = l.image.path, l.image.size
			}
		}
		one.Top = at[d.top]
		d.mu.RUnlock()
		k.Disks = append(k.Disks, one)
	}
	place := map[*snapshot]int{}
	for i, s := range m.snaps {
		place[s] = i
		one := keptSnapshot{s.name, s.desc, s.quiesced, s.made, -1, map[int32]keptFrozen{}}
		if s.parent != nil {
			one.Parent = place[s.parent]
		}
		for key, f := range s.frozen {
			one.Frozen[key] = keptFrozen{at[f.layer], f.gen, f.size, f.change}
		}
		k.Snapshots = append(k.Snapshots, one)
		if s == m.current {
			k.Current = i
		}
	}
	return k
}

// recallAtOnce is how many machines come back at the same time.
const recallAtOnce = 32

// recall brings back the machines of an earlier run.
func (v *VCenter) recall() error {
	files, err := filepath.Glob(filepath.Join(escapeGlob(v.Dir), "machines", "*", stateFile))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs, slots := make([]error, len(files)), make(chan struct{}, recallAtOnce)
	for i, f := range files {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = v.recallOne(f)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (v *VCenter) recallOne(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("recall a machine: %w", err)
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("recall a machine of %s: %w", file, err)
	}
	m := &machine{id: k.Spec.ID, spec: k.Spec, dir: k.Dir, marks: filepath.Dir(file), asked: k.Asked, active: k.Active, gone: k.Gone}
	for _, one := range k.Disks {
		d, err := v.recallDisk(m, one)
		if err != nil {
			return fmt.Errorf("recall %s: %w", m.spec.Name, err)
		}
		m.disks = append(m.disks, d)
	}
	if err := m.clearAway(); err != nil {
		return fmt.Errorf("recall %s: %w", m.spec.Name, err)
	}
	if err := v.raise(m); err != nil {
		return fmt.Errorf("recall %s: %w", m.spec.Name, err)
	}
	return v.recallSnapshots(m, k)
}

func (v *VCenter) recallDisk(m *machine, k keptDisk) (*disk, error) {
	d := &disk{key: k.Key, kind: k.Kind, uuid: k.UUID, serial: k.Serial, marks: m.marks,
		track: tracking{id: k.Track, gen: k.Gen, since: k.Since}}
	for _, one := range k.Layers {
		var p object.DatastorePath
		p.FromString(one.File)
		d.root = filepath.Join(v.Dir, "datastores", p.Datastore)
		l := d.layer(p, one.Size, one.Base)
		l.index = filepath.Join(m.marks, one.Index)
		if err := l.recall(); err != nil {
			return nil, err
		}
		d.layers = append(d.layers, l)
	}
	for i, one := range k.Layers {
		if one.Parent >= 0 {
			d.layers[i].parent = d.layers[one.Parent]
		}
	}
	d.top = d.layers[k.Top]
	if k.Image != "" {
		st, err := os.Stat(k.Image)
		if err != nil {
			return nil, fmt.Errorf("disk content: %w", err)
		}
		d.layers[0].image = v.share(k.Image, min(st.Size(), k.Bytes))
	}
	return d, nil
}

// clearAway removes what the simulator wants to make itself.
func (m *machine) clearAway() error {
	var errs []error
	for _, pattern := range []string{"*.vmx", "*.vmsn", "vmware.log"} {
		files, _ := filepath.Glob(filepath.Join(escapeGlob(m.dir), pattern)) // the patterns are sound
		for _, f := range files {
			errs = append(errs, os.Remove(f))
		}
	}
	return errors.Join(errs...)
}

// recallSnapshots makes the tree stand again over the layers that are there.
func (v *VCenter) recallSnapshots(m *machine, k kept) error {
	vm, c := v.vm(m.ref), v.ctx()
	var failed types.BaseMethodFault
	c.WithLock(vm, func() {
		for _, one := range k.Snapshots {
			s := &snapshot{name: one.Name, desc: one.Desc, quiesced: one.Quiesced, made: one.Made, frozen: map[int32]*frozen{}}
			if one.Parent >= 0 {
				s.parent = m.snaps[one.Parent]
				c.Update(vm, []types.PropertyChange{{Name: "snapshot.currentSnapshot", Val: s.parent.ref}})
			}
			req := &types.CreateSnapshotEx_Task{This: m.ref, Name: s.name, Description: s.desc}
			if s.quiesced {
				req.QuiesceSpec = &types.VirtualMachineGuestQuiesceSpec{}
			}
			val, fault := await(c, vm.CreateSnapshotExTask(c, req).(*methods.CreateSnapshotEx_TaskBody).Res.Returnval)
			if fault != nil {
				failed = fault
				return
			}
			s.ref = val.(types.ManagedObjectReference)
			for key, f := range one.Frozen {
				s.frozen[key] = &frozen{layer: m.disk(key).layers[f.Layer], gen: f.Gen, size: f.Size, change: f.Change}
			}
			m.snaps = append(m.snaps, s)
			v.count.snapshots(m, 1)
		}
		if k.Current >= 0 {
			m.current = m.snaps[k.Current]
			c.Update(vm, []types.PropertyChange{{Name: "snapshot.currentSnapshot", Val: m.current.ref}})
		}
		v.show(c, m, vm)
	})
	if failed != nil {
		return fmt.Errorf("recall snapshots of %s: %T", m.spec.Name, failed)
	}
	return nil
}
