package vcenter

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// addMany adds machines on one image, as many at once as helps.
func addMany(t testing.TB, v *VCenter, many int) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, noise(9, small), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g errgroup.Group
	g.SetLimit(recallAtOnce)
	for i := range many {
		g.Go(func() error {
			_, err := v.Add(Machine{Name: fmt.Sprint("m", i), On: true, Tracking: true, Disks: []Disk{{Size: small, Content: f}}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// Goal: many machines on one image need no disk of their own. Method: count the
// bytes, never the seconds.
func TestManyMachines(t *testing.T) {
	const many = 200
	v := start(t, Options{Hosts: 4, Datastores: 4})
	addMany(t, v, many)
	var bytes int64
	err := filepath.Walk(v.Dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return err
	})
	if err != nil || bytes > many*32<<10 {
		t.Fatalf("%d machines take %d bytes: %v", many, bytes, err)
	}
	if n := len(v.model.Map().All("VirtualMachine")); n != many {
		t.Fatalf("%d machines stand", n)
	}
}

// BenchmarkStart is how long a vCenter takes to stand with its machines, made and
// then come back to.
func BenchmarkStart(b *testing.B) {
	for _, many := range []int{1000, 5000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				v, err := Start(Options{Dir: dir, Hosts: 8, Datastores: 8})
				if err != nil {
					b.Fatal(err)
				}
				addMany(b, v, many)
				if err := v.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(many, "again"), func(b *testing.B) {
			dir := b.TempDir()
			v, err := Start(Options{Dir: dir, Hosts: 8, Datastores: 8})
			if err != nil {
				b.Fatal(err)
			}
			addMany(b, v, many)
			if err := v.Close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for b.Loop() {
				v, err := Start(Options{Dir: dir, Hosts: 8, Datastores: 8})
				if err != nil {
					b.Fatal(err)
				}
				if err := v.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
