package vsphere

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Marks lists the snapshots of all machines that bear our mark.
func (s *Source) Marks(ctx context.Context) ([]source.Mark, error) {
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	var vms []types.ObjectContent
	if err := s.view(ctx, c, []string{"VirtualMachine"}, []string{"snapshot", "config.instanceUuid"}, &vms); err != nil {
		return nil, fmt.Errorf("vCenter %s: look for snapshots of ours: %w", s.url.Host, explain(err))
	}
	var all []source.Mark
	for i := range vms {
		var vm mo.VirtualMachine
		load(&vms[i], &vm)
		if vm.Config == nil {
			continue // End could not find it either
		}
		for n := range nodes(vm.Snapshot) {
			if name := unescape(n.Name); strings.HasPrefix(name, mark) {
				all = append(all, source.Mark{Name: name, Machine: vm.Config.InstanceUuid, Since: n.CreateTime})
			}
		}
	}
	return all, nil
}
