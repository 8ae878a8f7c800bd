package vault

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/ova"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Placed is a file of a point, or several that go into one, and where on this
// computer it goes.
type Placed struct {
	Files []*schemas.PointFile // one, unless As is OVA
	Path  string
	As    Format
	Notes []string // what the operator should know of it
}

// Size is how many bytes the files have that are restored.
func (p Placed) Size() (n uint64) {
	for _, f := range p.Files {
		n += f.SizeBytes
	}
	return n
}

var errOVANames = errors.New("mapping: an OVA's descriptor names the files in it, and takes no other names")

// Place says where below dir each file of a point goes: those named, or all, disks
// as the format says. rename gives files other names than those. A name that would
// lead out of dir is refused, and so are two files of one path: a point is not
// believed only because its seal is right. As OVA, all go into one file that has
// the machine's name, if there is a disk among them.
func Place(p *Point, names []string, dir string, rename map[string]string, as Format) (placed []Placed, err error) {
	files := p.Files
	if len(names) > 0 {
		files = nil
		for _, name := range names {
			f, err := FileOf(p, name)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	for name := range rename {
		if _, err := FileOf(p, name); err != nil {
			return nil, fmt.Errorf("mapping: %w", err)
		}
	}
	disks := false
	var notes []string
	taken := map[string]string{}
	for _, f := range files {
		one := Placed{[]*schemas.PointFile{f}, source.Raw(f.Name), Raw, asItIs(f, as)}
		notes = append(notes, one.Notes...)
		if isDisk(f) {
			disks = true
			if as == VMDK || as == QCOW2 {
				one.As, one.Path = as, as.named(one.Path)
			}
		}
		if name, ok := rename[f.Name]; ok {
			one.Path = name
		}
		if !filepath.IsLocal(one.Path) {
			return nil, fmt.Errorf("file %q would be restored to %q, which leads out of %s", f.Name, one.Path, dir)
		}
		one.Path = filepath.Join(dir, one.Path)
		if other, ok := taken[one.Path]; ok {
			return nil, fmt.Errorf("files %q and %q would both be restored to %s", other, f.Name, one.Path)
		}
		taken[one.Path] = f.Name
		placed = append(placed, one)
	}
	if as == OVA && disks {
		if len(rename) > 0 {
			return nil, errOVANames
		}
		return []Placed{{files, filepath.Join(dir, ova.Name(p.Machine.GetName())+".ova"), OVA, notes}}, nil
	}
	return placed, nil
}
