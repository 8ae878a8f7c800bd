package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// machine is one of the demo's: a disk with a real file system and a descriptor.
type machine struct {
	name string
	disk string // path of its image
}

const (
	diskBytes  = 256 << 20 // sparse: about a third is used
	commonMax  = 48 << 20  // what all three have
	ownMax     = 20 << 20  // what each has alone
	changeMax  = 6 << 20   // what a day adds to one of them
	fileMin    = 4 << 10
	fileMax    = 2 << 20
	descriptor = `<domain type='kvm'>
  <name>%[1]s</name>
  <memory unit='MiB'>2048</memory>
  <devices><disk type='file'><source file='disk0.raw'/><target dev='vda'/></disk></devices>
  <!-- %[2]s -->
</domain>
`
)

// makeMachines makes three machines below dir of files that this computer has.
// A share of their files is common, as it is in any fleet.
func makeMachines(dir string) (all []machine, spare *pool, err error) {
	files := newPool()
	common, err := files.take(commonMax, "/usr/share/common")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"web-01", "web-02", "db-01"} {
		own, err := files.take(ownMax, "/srv/"+name)
		if err != nil {
			return nil, nil, err
		}
		m := machine{name, filepath.Join(dir, name, "disk0.raw")}
		if err := os.MkdirAll(filepath.Dir(m.disk), 0o755); err != nil {
			return nil, nil, err
		}
		if err := makeDisk(m.disk, name, diskBytes, append(append([]content{}, common...), own...)); err != nil {
			return nil, nil, err
		}
		text := fmt.Sprintf(descriptor, name, strings.Repeat("holdfast ", 420))
		if err := os.WriteFile(filepath.Join(dir, name, "domain.xml"), []byte(text), 0o644); err != nil {
			return nil, nil, err
		}
		all = append(all, m)
	}
	return all, files, nil
}

// pool hands out files of this computer, each once.
type pool struct {
	paths []string
	sizes []int64
	next  int
}

// newPool looks for readable files of ordinary size where every Unix has some.
func newPool() *pool {
	p := &pool{}
	enough := int64(commonMax+3*ownMax+4*changeMax) * 2
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
