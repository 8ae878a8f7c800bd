package vault

import (
	"fmt"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// Placed is a file of a point and where on this computer it goes.
type Placed struct {
	File *schemas.PointFile
	Path string
}

// Place says where below dir each file of a point goes: those named, or all.
// rename gives files other names. A name that would lead out of dir is refused,
// and so are two files of one path: a point is not believed only because its
// seal is right.
func Place(p *Point, names []string, dir string, rename map[string]string) (placed []Placed, err error) {
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
	taken := map[string]string{}
	for _, f := range files {
		name, ok := rename[f.Name]
		if !ok {
			name = source.Raw(f.Name)
		}
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("file %q would be restored to %q, which leads out of %s", f.Name, name, dir)
		}
		path := filepath.Join(dir, name)
		if other, ok := taken[path]; ok {
			return nil, fmt.Errorf("files %q and %q would both be restored to %s", other, f.Name, path)
		}
		taken[path] = f.Name
		placed = append(placed, Placed{f, path})
	}
	return placed, nil
}
