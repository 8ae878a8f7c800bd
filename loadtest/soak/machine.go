package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// machine is one that is backed up, and its guest.
type machine struct {
	source, id, name string
	guest            *guest
	live             bool // its guest writes while it is backed up
	disk             func(i int) (io.WriterAt, func() error, error)
	writing          sync.Mutex // one write after another
}

// step lets the guest write once more.
func (m *machine) step() error {
	m.writing.Lock()
	defer m.writing.Unlock()
	p := m.guest.plan(int(m.guest.done.Load()) + 1)
	d, done, err := m.disk(p.disk)
	if err != nil {
		return fmt.Errorf("guest of %s: %w", m.name, err)
	}
	if _, err := d.WriteAt(m.guest.whole(p), int64(p.at)*sector); err != nil {
		return fmt.Errorf("guest of %s: %w", m.name, err)
	}
	if err := done(); err != nil {
		return fmt.Errorf("guest of %s: %w", m.name, err)
	}
	m.guest.done.Add(1)
	return nil
}

// birth makes the disks what a new machine has.
func (m *machine) birth() error {
	for range m.guest.first() {
		if err := m.step(); err != nil {
			return err
		}
	}
	return nil
}

// version is one that the machine's disks have now.
func (m *machine) version() int { return int(m.guest.done.Load()) }

// newest is the newest version that a snapshot of a moment ago may have: a write
// may be in the disk and not counted yet.
func (m *machine) newest() int {
	if m.live {
		return m.version() + 1
	}
	return m.version()
}

// image makes a machine of the folder of images.
func image(dir, name string, seed uint64, disks int, size int64) (*machine, error) {
	m := &machine{source: "images", id: name, name: name, guest: &guest{seed: seed, disks: disks, size: size}}
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("disk%d.raw", i)) }
	for i := range disks {
		f, err := os.Create(path(i))
		if err != nil {
			return nil, err
		}
		if err := f.Truncate(size); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	m.disk = func(i int) (io.WriterAt, func() error, error) {
		f, err := os.OpenFile(path(i), os.O_RDWR, 0)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	if err := os.WriteFile(filepath.Join(dir, "domain.xml"), []byte("<domain><name>"+name+"</name></domain>\n"), 0o644); err != nil {
		return nil, err
	}
	return m, m.birth()
}

// hypervisor is the demo vCenter, which lives on while the house dies, and is
// itself started anew now and then.
type hypervisor struct {
	dir   string
	gate  sync.RWMutex // held to write: there is no vCenter
	vc    *vcenter.VCenter
	first map[string]bool // ids of the machines that we made
}

// leaseTimeout is how long a vCenter keeps what a dead exporter held open, and its
// snapshot with it: 5 minutes in earnest, which is too long for a soak.
const leaseTimeout = 15 * time.Second

func openHypervisor(dir string) (*hypervisor, error) {
	vc, err := vcenter.Start(vcenter.Options{Dir: dir, LeaseTimeout: leaseTimeout})
	return &hypervisor{dir: dir, vc: vc, first: map[string]bool{}}, err
}

// add makes a machine of it, whose guest writes as long as ctx lives.
func (h *hypervisor) add(name string, seed uint64, disks int, size int64) (*machine, error) {
	spec := vcenter.Machine{Name: name, Folder: "soak", On: true, Tracking: true}
	for range disks {
		spec.Disks = append(spec.Disks, vcenter.Disk{Size: size})
	}
	id, err := h.vc.Add(spec)
	if err != nil {
		return nil, err
	}
	h.first[id] = true
	m := &machine{source: "vcenter", id: id, name: name, live: true, guest: &guest{seed: seed, disks: disks, size: size}}
	m.disk = func(i int) (io.WriterAt, func() error, error) {
		h.gate.RLock()
		return h.vc.Disk(id, i), func() error { h.gate.RUnlock(); return nil }, nil
	}
	return m, m.birth()
}

// restart ends the vCenter, sessions and streams and all, and starts it again with
// the state that it kept.
func (h *hypervisor) restart() error {
	h.gate.Lock()
	defer h.gate.Unlock()
	if err := h.vc.Close(); err != nil {
		return fmt.Errorf("stop the vCenter: %w", err)
	}
	vc, err := vcenter.Start(vcenter.Options{Dir: h.dir, LeaseTimeout: leaseTimeout})
	if err != nil {
		return fmt.Errorf("start the vCenter: %w", err)
	}
	h.vc = vc
	return nil
}

// write lets a guest of the vCenter write until ctx ends: a little most of the
// time, and now and then a lot.
func (m *machine) write(ctx context.Context, rng *rand.Rand) error {
	for {
		pause := time.Duration(30+rng.IntN(250)) * time.Millisecond
		if rng.IntN(20) == 0 {
			pause = time.Duration(rng.IntN(3000)) * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		if err := m.step(); err != nil {
			return err
		}
	}
}
