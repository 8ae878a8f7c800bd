package vcenter

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"
)

// Goal: many clients at once neither stand still nor see each other's bytes; what
// was open at once is counted. Method: eight machines, each snapshotted, queried,
// exported and rid of its snapshots three times by its own client, and one machine
// by two clients whose calls cross.
func TestTogether(t *testing.T) {
	v := start(t, Options{})
	var g errgroup.Group
	shared, err := v.Add(Machine{Name: "shared", Tracking: true, Disks: []Disk{{Size: small}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		c := login(t, v)
		want := noise(uint64(20+i), small)
		_, vm := c.add(Machine{Name: fmt.Sprint("m", i), On: true, Tracking: true, Disks: []Disk{{Size: small, Content: bytes.NewReader(want)}}})
		common := c.vm(shared)
		g.Go(func() error {
			for n := range 3 {
				if err := round(c, vm, fmt.Sprint("r", n), want); err != nil {
					return err
				}
				if err := round(c, common, fmt.Sprintf("c%d-%d", i, n), nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	n := v.Counters()
	if len(n.Open) != 0 || n.Host["esx-0"].Now != 0 || n.Host["esx-0"].Peak == 0 || n.Machine[shared].Peak < 2 || n.Connections["esx-0"].Now != 0 {
		t.Fatalf("counted %+v", n)
	}
	c := login(t, v)
	if p := c.props(c.vm(shared)); p.Runtime.ConsolidationNeeded || p.Snapshot != nil {
		t.Fatal("something is left of all that")
	}
}

func round(c *client, vm *object.VirtualMachine, name string, want []byte) error {
	task, err := vm.CreateSnapshot(c.ctx, name, "", false, false)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(c.ctx)
	if err != nil {
		return err
	}
	ref := info.Result.(types.ManagedObjectReference)
	if _, _, err := c.areas(vm, &ref, 2000, "*", small); err != nil {
		return err
	}
	if want != nil {
		if b := c.export(vm, ref)[0]; !bytes.Equal(b, want) {
			return fmt.Errorf("%s exports another's bytes", name)
		}
	}
	return c.unsnap(ref)
}
