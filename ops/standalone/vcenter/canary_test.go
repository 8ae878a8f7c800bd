package vcenter

import (
	"testing"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type bird struct {
	*simulator.VirtualMachine
	sang *bool
}

func (b *bird) RefreshStorageInfo(*simulator.Context, *types.RefreshStorageInfo) soap.HasFault {
	*b.sang = true
	return &methods.RefreshStorageInfoBody{Res: &types.RefreshStorageInfoResponse{}}
}

// Goal: the simulator of this version asks its handler first, lets the object
// that it returns stand if method.This is unknown, and puts its own back if it is
// not. dispatch rests on all three; a new version that changes one must be met here.
func TestCanary(t *testing.T) {
	m := simulator.VPX()
	m.Machine = 1
	building.Lock()
	err := m.Create()
	building.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Remove()
	c, err := vim25.NewClient(t.Context(), m.Service)
	if err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []bool{true, false} {
		sang := false
		m.Map().Handler = func(ctx *simulator.Context, q *simulator.Method) (mo.Reference, types.BaseMethodFault) {
			vm, ok := ctx.Map.Get(q.This).(*simulator.VirtualMachine)
			if !ok || q.Name != "RefreshStorageInfo" {
				return nil, nil
			}
			if unknown {
				q.This.Type += aside
			}
			return &bird{vm, &sang}, nil
		}
		if _, err := methods.RefreshStorageInfo(t.Context(), c, &types.RefreshStorageInfo{This: m.Map().Any("VirtualMachine").Reference()}); err != nil {
			t.Fatal(err)
		}
		if sang != unknown {
			t.Errorf("This unknown %v: the handler's object was called: %v", unknown, sang)
		}
	}
}
