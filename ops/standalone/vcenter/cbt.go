package vcenter

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// changeID is a point in the history of one disk's tracking.
func changeID(track string, gen uint32) string { return fmt.Sprintf("%s/%d", track, gen) }

// QueryChangedDiskAreas answers for one page: at most Areas areas, and Length
// says how far it looked.
func (x *vmX) QueryChangedDiskAreas(c *simulator.Context, req *types.QueryChangedDiskAreas) soap.HasFault {
	if fault := x.v.failing(x.m, "QueryChangedDiskAreas", false); fault != nil {
		return &methods.QueryChangedDiskAreasBody{Fault_: simulator.Fault("", fault)}
	}
	info, fault := x.v.changed(x.m, req)
	if fault != nil {
		return &methods.QueryChangedDiskAreasBody{Fault_: simulator.Fault(faultText(fault), fault)}
	}
	if _, ok := strike[CBTLies](x.v, x.m, nil); ok {
		var kept []types.DiskChangeExtent
		for i, a := range info.ChangedArea {
			if i%2 == 1 {
				kept = append(kept, a)
			}
		}
		info.ChangedArea = kept
	}
	x.v.count.bytes(func(n *Counters) {
		n.Queries++
		if req.ChangeId != "*" {
			for _, a := range info.ChangedArea {
				n.Named += a.Length
			}
		}
	})
	return &methods.QueryChangedDiskAreasBody{Res: &types.QueryChangedDiskAreasResponse{Returnval: *info}}
}

func faultText(f types.BaseMethodFault) string {
	switch f := f.(type) {
	case *types.InvalidArgument:
		return "A specified parameter was not correct: " + f.InvalidProperty
	case *types.FileFault:
		return "Error caused by file " + f.File
	}
	return ""
}

func (v *VCenter) changed(m *machine, req *types.QueryChangedDiskAreas) (*types.DiskChangeInfo, types.BaseMethodFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disk(req.DeviceKey)
	if d == nil {
		return nil, invalid("deviceKey")
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	at, track := &frozen{layer: d.top, gen: d.track.gen, size: d.top.size}, d.track.id
	if req.Snapshot != nil {
		if at = m.frozenIn(*req.Snapshot, req.DeviceKey); at == nil {
			return nil, invalid("snapshot")
		}
	}
	if track == "" || !d.tracked() {
		return nil, &types.FileFault{File: at.layer.file.String()}
	}
	if req.StartOffset < 0 || req.StartOffset >= at.size {
		return nil, invalid("startOffset")
	}
	since, fault := d.since(req.ChangeId, at)
	if fault != nil {
		return nil, fault
	}
	return page(at, since, req.StartOffset, v.Areas), nil
}

// frozenIn is a disk in a snapshot. m's lock is held.
func (m *machine) frozenIn(ref types.ManagedObjectReference, key int32) *frozen {
	for _, s := range m.snaps {
		if s.ref == ref {
			return s.frozen[key]
		}
	}
	return nil
}

// all stands for "*": what is allocated.
const all = -1

// since is the generation that a change id names. One of another disk, or from
// before a reset, names a tracking file that is not there.
func (d *disk) since(id string, at *frozen) (int64, types.BaseMethodFault) {
	if id == "*" {
		return all, nil
	}
	track, n, ok := strings.Cut(id, "/")
	gen, err := strconv.ParseUint(n, 10, 32)
	if !ok || err != nil {
		return 0, invalid("changeId")
	}
	if track != d.track.id || gen < uint64(d.track.since) || gen > uint64(at.gen) {
		return 0, &types.FileFault{File: at.layer.file.String()}
	}
	return int64(gen), nil
}

// page looks from start on until it has found limit areas.
func page(at *frozen, since, start int64, limit int) *types.DiskChangeInfo {
	info := &types.DiskChangeInfo{StartOffset: start, Length: at.size - start}
	for b := start / block; b*block < at.size; b++ {
		if !touched(at.layer, b, since) {
			continue
		}
		from, to := max(b*block, start), min((b+1)*block, at.size)
		n := len(info.ChangedArea)
		if n > 0 && info.ChangedArea[n-1].Start+info.ChangedArea[n-1].Length == from {
			info.ChangedArea[n-1].Length += to - from
			continue
		}
		if n == limit {
			info.Length = from - start
			break
		}
		info.ChangedArea = append(info.ChangedArea, types.DiskChangeExtent{Start: from, Length: to - from})
	}
	return info
}

func touched(l *layer, b, since int64) bool {
	if since == all {
		return l.allocated(b)
	}
	for ; l != nil; l = l.parent {
		if gen, ok := l.gens[b]; ok && int64(gen) > since {
			return true
		}
	}
	return false
}
