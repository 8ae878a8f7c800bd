package vsphere

import (
	"iter"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// mark begins the name of every snapshot of ours; what follows is backup and lease.
const mark = "holdfast-"

// nodes walks a machine's snapshots, children after their parents.
func nodes(info *types.VirtualMachineSnapshotInfo) iter.Seq[*types.VirtualMachineSnapshotTree] {
	return func(yield func(*types.VirtualMachineSnapshotTree) bool) {
		if info == nil {
			return
		}
		var walk func([]types.VirtualMachineSnapshotTree) bool
		walk = func(all []types.VirtualMachineSnapshotTree) bool {
			for i := range all {
				if !yield(&all[i]) || !walk(all[i].ChildSnapshotList) {
					return false
				}
			}
			return true
		}
		walk(info.RootSnapshotList)
	}
}

// named are the snapshots of one name: two, if an exporter was wrongly thought dead.
func named(info *types.VirtualMachineSnapshotInfo, name string) (all []*types.VirtualMachineSnapshotTree) {
	for n := range nodes(info) {
		if unescape(n.Name) == name {
			all = append(all, n)
		}
	}
	return all
}

// foreign are the names of snapshots that are not ours.
func foreign(info *types.VirtualMachineSnapshotInfo) (names []string) {
	for n := range nodes(info) {
		if !strings.HasPrefix(n.Name, mark) {
			names = append(names, unescape(n.Name))
		}
	}
	return names
}
