package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// List looks into every folder. A machine that can't be looked into is listed
// with the reason: it is there, and its next backup must say why it fails.
func (s *Source) List(ctx context.Context) (*source.Inventory, error) {
	all, err := os.ReadDir(s.path)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	v := &source.Inventory{}
	for _, d := range all {
		name := source.Text(d.Name())
		switch {
		case !isMachine(d.Name()):
		case d.IsDir():
			m, err := s.machine(ctx, d.Name())
			if err != nil {
				return nil, err
			}
			v.Machines = append(v.Machines, m)
		case d.Type()&os.ModeSymlink != 0:
			v.Findings = append(v.Findings, fmt.Sprintf("%q is a link: not followed, no machine", name))
		default:
			v.Findings = append(v.Findings, fmt.Sprintf("%q is no folder: it belongs to no machine", name))
		}
	}
	return v, nil
}

func (s *Source) machine(ctx context.Context, name string) (source.Machine, error) {
	dir := filepath.Join(s.path, name)
	m := source.Machine{ID: source.Text(name), Name: source.Text(name), Folder: source.Text(s.path)}
	if m.ID != name {
		m.Findings = append(m.Findings, fmt.Sprintf("the name %q is not UTF-8: odd bytes are escaped", name))
	}
	t, err := walk(ctx, dir)
	if ctx.Err() != nil {
		return m, ctx.Err()
	} else if err != nil {
		m.Findings = append(m.Findings, fmt.Sprintf("can't be backed up: %v", err))
		return m, nil
	}
	m.Findings = append(m.Findings, t.findings...)
	for i := range t.files {
		e := &t.files[i]
		if kind(e.rel, e.size) != schemas.FileExported_KIND_DISK {
			continue
		}
		m.Disks = append(m.Disks, source.Disk{Key: e.key(), Size: e.size})
		if what := format(dir, e); what != "" {
			m.Findings = append(m.Findings, fmt.Sprintf("disk %q is %s: kept as the file it is, byte for byte", e.key(), what))
		}
	}
	switch {
	case len(t.files) == 0:
		m.Findings = append(m.Findings, "can't be backed up: its folder has no file")
	case len(m.Disks) == 0:
		m.Findings = append(m.Findings, "no disk")
	}
	return m, nil
}
