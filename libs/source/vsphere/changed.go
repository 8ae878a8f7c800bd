package vsphere

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// A disk's change id is VMware's, "<uuid>/<number>", and the size that the disk
// had: tracking is not believed across a disk that was resized (KB 310751).
func (x *disk) changeID() string {
	if x.change == "" {
		return ""
	}
	return fmt.Sprintf("%s@%d", x.change, x.size)
}

// comparable says why an old change id can't be asked about, or nothing.
func (x *disk) comparable(since string) (id, why string) {
	at := strings.LastIndexByte(since, '@')
	if at < 0 {
		return "", fmt.Sprintf("change id %q is none of a vCenter's", brief(since))
	}
	id = since[:at]
	size, err := strconv.ParseInt(since[at+1:], 10, 64)
	if err != nil {
		return "", fmt.Sprintf("change id %q is none of a vCenter's", brief(since))
	}
	epoch, number, ok := splitChange(id)
	nowEpoch, now, tracked := splitChange(x.change)
	switch {
	case !ok:
		why = fmt.Sprintf("change id %q is none of a vCenter's", brief(since))
	case !tracked:
		why = "change tracking is off"
	case epoch != nowEpoch:
		why = fmt.Sprintf("change tracking was reset, or the base is another disk's: it was %s and is %s", epoch, nowEpoch)
	case number > now:
		why = fmt.Sprintf("the machine went back behind its last backup: change %d after %d", now, number)
	case size != x.size:
		why = fmt.Sprintf("the disk was resized from %d to %d bytes", size, x.size)
	}
	return id, why
}

func splitChange(id string) (epoch string, number uint64, ok bool) {
	epoch, n, ok := strings.Cut(id, "/")
	number, err := strconv.ParseUint(n, 10, 64)
	return epoch, number, ok && err == nil && epoch != ""
}

// Changed asks the host for changed areas, page by page. A full names the whole
// disk: what is allocated ("*") is on some storage told wrongly, and the readers
// skip or the exporter drops what is zero. What it was called with last is what
// Open chooses a reader by.
func (n *snapshot) Changed(ctx context.Context, f source.File, since string) iter.Seq2[source.Range, error] {
	x := n.disks[f.Key]
	n.since[f.Key] = ""
	switch {
	case since == "" && f.Size == 0:
		return each(nil)
	case since == "":
		return each([]source.Range{{Len: f.Size}})
	case x == nil:
		return fails(fmt.Errorf("file %q: %w", brief(f.Key), source.ErrUntracked))
	}
	id, why := x.comparable(since)
	if why != "" {
		return fails(n.untracked(x, why))
	}
	n.since[f.Key] = id
	return n.areas(ctx, x, id)
}

func fails(err error) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) { yield(source.Range{}, err) }
}

func (n *snapshot) untracked(x *disk, why string) error {
	return fmt.Errorf("machine %q (%s): disk %q: %s: %w", n.m.name(), n.m.id, x.label, why, source.ErrUntracked)
}

// areasKept is how many areas of a disk are remembered, 1 MiB of them: a disk is
// asked about once, and its answer needed twice, to choose and to read.
const areasKept = 1 << 16

// areas are a host's answer: all that changed since an id.
type areas struct {
	since string
	all   []source.Range
}

// areas yields what changed since an id, ascending and without overlap.
func (n *snapshot) areas(ctx context.Context, x *disk, id string) iter.Seq2[source.Range, error] {
	if k, ok := n.known[x.key]; ok && k.since == id {
		return each(k.all)
	}
	return func(yield func(source.Range, error) bool) {
		k := areas{since: id}
		for r, err := range n.ask(ctx, x, id) {
			if err != nil {
				yield(source.Range{}, err)
				return
			}
			if k.all = append(k.all, r); len(k.all) > areasKept {
				n.ask(ctx, x, id)(yield)
				return
			}
		}
		n.known[x.key] = k
		each(k.all)(yield)
	}
}

func each(all []source.Range) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// ask asks the host, page by page as they are wanted.
func (n *snapshot) ask(ctx context.Context, x *disk, id string) iter.Seq2[source.Range, error] {
	return func(yield func(source.Range, error) bool) { n.pages(ctx, x, id, yield) }
}

func (n *snapshot) pages(ctx context.Context, x *disk, id string, yield func(source.Range, error) bool) {
	last, before := int64(0), int64(0)
	for off := int64(0); off < x.size; { // an offset at the end is refused by some hosts
		res, err := methods.QueryChangedDiskAreas(ctx, n.m.c, &types.QueryChangedDiskAreas{
			This: n.m.ref, Snapshot: &n.node.Snapshot, DeviceKey: x.device, ChangeId: id, StartOffset: off})
		switch {
		case err != nil && off == 0 && isForgotten(err):
			yield(source.Range{}, n.untracked(x, "the host can't tell changes since "+id+": "+explain(err).Error()))
			return
		case err != nil:
			yield(source.Range{}, n.fail(x, fmt.Sprintf("ask for its changes from %d on", off), err))
			return
		}
		page := res.Returnval
		for _, a := range page.ChangedArea {
			from, to := max(a.Start, last), min(a.Start+a.Length, x.size)
			if a.Start < before || a.Length < 0 {
				yield(source.Range{}, n.fail(x, "ask for its changes", fmt.Errorf("the host names %d bytes at %d after those at %d", a.Length, a.Start, before)))
				return
			}
			if from < to && !yield(source.Range{Off: from, Len: to - from}, nil) {
				return
			}
			last, before = max(last, to), a.Start
		}
		next := page.StartOffset + page.Length
		if next <= off {
			yield(source.Range{}, n.fail(x, "ask for its changes", fmt.Errorf("the host's answer from %d on ends at %d: no progress", off, next)))
			return
		}
		off = next
	}
}
