package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// machine is one of the demo's: a guest in the demo vCenter, and a copy of its
// disk to compare with.
type machine struct {
	name, id string
	truth    string // path of a raw image: what the guest's disk holds
}

const (
	fleetSize = 3
	diskBytes = 256 << 20 // sparse: about a third is used
	commonMax = 48 << 20  // what all three have
	ownMax    = 20 << 20  // what each has alone
	changeMax = 2 << 20   // what a day adds to each
	fileMin   = 4 << 10
	fileMax   = 2 << 20
	blockSize = 64 << 10
)

// fleet is the demo vCenter and its machines.
type fleet struct {
	*vcenter.VCenter
	dir      string
	machines []machine
	spare    *pool
}

// openFleet starts a vCenter below dir, with three machines made of files that this
// computer has. A share of their files is common, as it is in any fleet.
func openFleet(dir string) (*fleet, error) {
	f := &fleet{dir: dir, spare: newPool()}
	common, err := f.spare.take(commonMax, "/usr/share/common")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "truth"), 0o755); err != nil {
		return nil, err
	}
	if f.VCenter, err = vcenter.Start(vcenter.Options{Dir: filepath.Join(dir, "vcenter")}); err != nil {
		return nil, err
	}
	for _, name := range [fleetSize]string{"web-01", "web-02", "db-01"} {
		if err := f.add(name, common); err != nil {
			f.Close()
			return nil, fmt.Errorf("machine %s: %w", name, err)
		}
	}
	return f, nil
}

func (f *fleet) add(name string, common []content) error {
	own, err := f.spare.take(ownMax, "/srv/"+name)
	if err != nil {
		return err
	}
	m := machine{name: name, truth: filepath.Join(f.dir, "truth", name+".raw")}
	if err := makeDisk(m.truth, name, diskBytes, append(append([]content{}, common...), own...)); err != nil {
		return err
	}
	disk, err := os.Open(m.truth)
	if err != nil {
		return err
	}
	defer disk.Close()
	m.id, err = f.Add(vcenter.Machine{Name: name, Folder: "demo", On: true, Tracking: true,
		Disks: []vcenter.Disk{{Size: diskBytes, Content: io.NewSectionReader(disk, 0, diskBytes)}}})
	f.machines = append(f.machines, m)
	return err
}

// day lets each guest write new files into its file system, and returns their size.
func (f *fleet) day() (n int64, err error) {
	for _, m := range f.machines {
		files, err := f.spare.take(changeMax, "/var/lib/today")
		if err != nil {
			return n, err
		}
		if err := f.write(m, files); err != nil {
			return n, fmt.Errorf("guest of %s: %w", m.name, err)
		}
		for _, c := range files {
			if st, err := os.Stat(c.from); err == nil {
				n += st.Size()
			}
		}
	}
	return n, nil
}

// write adds files to a copy of the disk, and has the guest write what that changed.
func (f *fleet) write(m machine, files []content) error {
	next := m.truth + ".next"
	if out, err := exec.Command("cp", "--sparse=always", m.truth, next).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", m.truth, err, out)
	}
	if err := changeDisk(next, files); err != nil {
		return err
	}
	now, err := os.Open(next)
	if err != nil {
		return err
	}
	defer now.Close()
	guest := f.Disk(m.id, 0)
	err = differences(now, guest, diskBytes, func(p []byte, off int64) error {
		_, err := guest.WriteAt(p, off)
		return err
	})
	if err != nil {
		return err
	}
	return os.Rename(next, m.truth)
}

// differences calls each with the blocks of a that b does not have.
func differences(a, b io.ReaderAt, size int64, each func(p []byte, off int64) error) error {
	p, q := make([]byte, blockSize), make([]byte, blockSize)
	for off := int64(0); off < size; off += blockSize {
		n := min(blockSize, size-off)
		if _, err := a.ReadAt(p[:n], off); err != nil {
			return err
		}
		if _, err := b.ReadAt(q[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(p[:n], q[:n]) {
			if err := each(p[:n], off); err != nil {
				return err
			}
		}
	}
	return nil
}

// equal compares a disk with the machine's, byte by byte.
func (m machine) equal(disk io.ReaderAt, what string) error {
	truth, err := os.Open(m.truth)
	if err != nil {
		return err
	}
	defer truth.Close()
	return differences(truth, disk, diskBytes, func(_ []byte, off int64) error {
		return fmt.Errorf("%s is not the disk of %s: they differ within %d bytes of byte %d", what, m.name, blockSize, off)
	})
}
