package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/synthetic"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// hypervisor is the demo vCenter with the same machines: their disks lie in its
// folder, sparse, and each version is written to them as their guests would.
type hypervisor struct {
	vc       *vcenter.VCenter
	o        options
	machines map[string]string // ids there by name here
	version  int
}

func (o options) openHypervisor(ctx context.Context) (*hypervisor, error) {
	vc, err := vcenter.Start(vcenter.Options{Dir: filepath.Join(o.work, "vcenter"), DatastoreSize: int64(o.machines)*int64(o.size) + 1<<40})
	if err != nil {
		return nil, err
	}
	h := &hypervisor{vc: vc, o: o, machines: map[string]string{}}
	list, err := synthetic.Open(o.synthetic()).List(ctx)
	if err != nil {
		return nil, errors.Join(err, vc.Close())
	}
	for _, m := range list.Machines {
		id, err := vc.Add(vcenter.Machine{Name: m.Name, Folder: m.Folder, On: true, Tracking: true, Disks: []vcenter.Disk{{Size: int64(o.size)}}})
		if err == nil {
			h.machines[m.Name] = id
			err = h.write(ctx, m.Name, 0)
		}
		if err != nil {
			return nil, errors.Join(err, vc.Close())
		}
	}
	return h, nil
}

// turn moves all disks to a version, which is the next.
func (h *hypervisor) turn(ctx context.Context, version int) error {
	for name := range h.machines {
		for v := h.version + 1; v <= version; v++ {
			if err := h.write(ctx, name, v); err != nil {
				return err
			}
		}
	}
	h.version = version
	return nil
}

// write brings to a machine's disk what a version wrote; of version 0 that is all.
func (h *hypervisor) write(ctx context.Context, name string, version int) error {
	disk, err := h.o.synthetic().Disk(name, version)
	if err != nil {
		return err
	}
	ranges := disk.Allocated
	if version > 0 {
		ranges = func(yield func(source.Range) bool) { disk.Written(version-1, yield) }
	}
	to := h.vc.Disk(h.machines[name], 0)
	for r := range ranges {
		p := make([]byte, r.Len)
		if err := disk.ReadAt(ctx, p, r.Off); err != nil {
			return err
		}
		if _, err := to.WriteAt(p, r.Off); err != nil {
			return fmt.Errorf("guest of %s: %w", name, err)
		}
	}
	return nil
}

// config is its section of the house's configuration.
func (h *hypervisor) config() (string, error) {
	password := filepath.Join(h.o.work, "password")
	n := h.o.slots
	return fmt.Sprintf("  - name: %s\n    kind: vsphere\n    url: %q\n    user: %q\n    password_file: %q\n    thumbprint: %q\n    check_one_in: 0\n    limits: {snapshots: %d, per_host: %d, per_datastore: %d, connections: %d}\n",
		sourceName, h.vc.URL(), h.vc.User, password, h.vc.Thumbprint(), n, n, n, n), os.WriteFile(password, []byte(h.vc.Password+"\n"), 0o600)
}
