package vsphere

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
)

// policies are the storage policies of a machine's home and disks. A host that is
// no vCenter has none.
func (m *machine) policies(ctx context.Context, disks []*disk) ([]Policy, error) {
	if !m.c.IsVC() {
		return nil, nil
	}
	c, err := pbm.NewClient(ctx, m.c)
	if err != nil {
		return nil, err
	}
	asked := []pbmtypes.PbmServerObjectRef{{ObjectType: string(pbmtypes.PbmObjectTypeVirtualMachine), Key: m.ref.Value}}
	keys := map[string]string{}
	for _, x := range disks {
		at := fmt.Sprintf("%s:%d", m.ref.Value, x.device)
		keys[at] = x.key
		asked = append(asked, pbmtypes.PbmServerObjectRef{ObjectType: string(pbmtypes.PbmObjectTypeVirtualDiskId), Key: at})
	}
	found, err := c.QueryAssociatedProfiles(ctx, asked)
	if err != nil {
		return nil, err
	}
	var ids []pbmtypes.PbmProfileId
	var all []Policy
	for _, f := range found {
		for _, id := range f.ProfileId {
			ids = append(ids, id)
			all = append(all, Policy{Disk: keys[f.Object.Key], ID: id.UniqueId})
		}
	}
	if len(ids) == 0 {
		return all, nil
	}
	profiles, err := c.RetrieveContent(ctx, ids)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, p := range profiles {
		names[p.GetPbmProfile().ProfileId.UniqueId] = strings.TrimSpace(p.GetPbmProfile().Name)
	}
	for i := range all {
		all[i].Name = names[all[i].ID]
	}
	return all, nil
}
