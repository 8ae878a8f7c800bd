package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// pool hands out files of this computer, each once.
type pool struct {
	paths []string
	sizes []int64
	next  int
}

// newPool looks for readable files of ordinary size where every Unix has some.
func newPool() *pool {
	p := &pool{}
	enough := int64(commonMax+fleetSize*(ownMax+changeMax)) * 2
	for _, root := range []string{"/usr/share", "/usr/lib", "/usr/bin", "/usr/local", "/etc"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // not for us: there are others
			}
			st, err := d.Info()
			if err != nil || st.Size() < fileMin || st.Size() > fileMax {
				return nil
			}
			p.paths, p.sizes = append(p.paths, path), append(p.sizes, st.Size())
			if enough -= st.Size(); enough < 0 {
				return filepath.SkipAll
			}
			return nil
		})
		if err != nil || enough < 0 {
			break
		}
	}
	return p
}

// take returns files of about max bytes in all, to lie below dir.
func (p *pool) take(max int64, dir string) (files []content, err error) {
	for left := max; left > 0; p.next++ {
		if p.next == len(p.paths) {
			if len(files) == 0 {
				return nil, errors.New("this computer has too few files to make machines of")
			}
			return files, nil
		}
		left -= p.sizes[p.next]
		files = append(files, content{p.paths[p.next], fmt.Sprintf("%s/%d-%s", dir, p.next, filepath.Base(p.paths[p.next]))})
	}
	return files, nil
}
