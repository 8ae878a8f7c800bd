package vcenter

import (
	"strings"

	"github.com/vmware/govmomi/pbm/methods"
	pbm "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
)

// policyX knows which storage policy each machine was declared with; the
// simulator says that none has any.
type policyX struct {
	*pbm.ProfileManager
	v *VCenter
}

// policies is the storage policy service beside the vCenter's own.
func (v *VCenter) policies() *simulator.Registry {
	r := pbm.New()
	r.Handler = func(c *simulator.Context, q *simulator.Method) (mo.Reference, vim.BaseMethodFault) {
		if p, ok := c.Map.Get(q.This).(*pbm.ProfileManager); ok && strings.HasPrefix(q.Name, "PbmQueryAssociatedProfile") && c.Session != nil {
			return &policyX{p, v}, nil
		}
		return nil, nil
	}
	return r
}

// of is the policy of a machine, "vm-12", or of one of its disks, "vm-12:2000".
func (x *policyX) of(o types.PbmServerObjectRef) []types.PbmProfileId {
	key, _, _ := strings.Cut(o.Key, ":")
	m := x.v.byRef(vim.ManagedObjectReference{Type: "VirtualMachine", Value: key})
	if m == nil || m.spec.Policy == "" {
		return nil
	}
	id := types.PbmProfileId{}
	id.UniqueId = m.spec.Policy
	return []types.PbmProfileId{id}
}

func (x *policyX) PbmQueryAssociatedProfile(req *types.PbmQueryAssociatedProfile) soap.HasFault {
	return &methods.PbmQueryAssociatedProfileBody{Res: &types.PbmQueryAssociatedProfileResponse{Returnval: x.of(req.Entity)}}
}

func (x *policyX) PbmQueryAssociatedProfiles(req *types.PbmQueryAssociatedProfiles) soap.HasFault {
	res := &types.PbmQueryAssociatedProfilesResponse{}
	for _, o := range req.Entities {
		if ids := x.of(o); len(ids) > 0 {
			res.Returnval = append(res.Returnval, types.PbmQueryProfileResult{Object: o, ProfileId: ids})
		}
	}
	return &methods.PbmQueryAssociatedProfilesBody{Res: res}
}
