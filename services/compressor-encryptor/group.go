package sealer

import (
	"bytes"
	"cmp"
	"slices"
)

const (
	// groupBytes is what one read fetches at most, but for a single larger chunk: large
	// enough that opening a file is nothing beside it, small enough that the last group
	// of a batch keeps no worker waiting.
	groupBytes = 1 << 20
	// gapBytes is read in vain rather than with another call: 64 KiB are copied in the
	// time of an open.
	gapBytes = 64 << 10
)

// group is neighbouring chunks of one blob, to be read at once.
type group struct {
	blob     string
	from, to uint32
	refs     []ref
}

// gather sorts chunks as a restore will want them, by backup, file and place, and
// joins what lies together in its blob. An extent's fresh chunks come in as many
// records as there are rooms of the deduper: here they meet again.
func gather(refs []ref) []group {
	slices.SortStableFunc(refs, func(a, b ref) int {
		x, y := a.rec.msg, b.rec.msg
		return cmp.Or(bytes.Compare(x.Run.Backup, y.Run.Backup), bytes.Compare(x.Run.Lease, y.Run.Lease),
			cmp.Compare(x.File, y.File), cmp.Compare(a.place(), b.place()), cmp.Compare(x.Blob, y.Blob))
	})
	var groups []group
	for _, r := range refs {
		if n := len(groups); n > 0 {
			g := &groups[n-1]
			if g.blob == r.rec.msg.Blob && r.from() >= g.from && r.from() <= g.to+gapBytes && max(g.to, r.to())-g.from <= groupBytes {
				g.to = max(g.to, r.to())
				g.refs = append(g.refs, r)
				continue
			}
		}
		groups = append(groups, group{r.rec.msg.Blob, r.from(), r.to(), []ref{r}})
	}
	return groups
}
