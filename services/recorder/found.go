package recorder

import (
	"cmp"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// foundRows are machines, by source and id, that are not in the ledger yet, as
// this process knows: all of them at its start, for the ledger may have lost its own.
type foundRows map[[2]string]ledger.Found

// note keeps a machine of this room's sources for the next beat.
func (r *room) note(_ []byte, m *schemas.MachineFound) {
	who := m.GetMachine()
	if who.GetId() == "" { // a tombstone, or the source's own row
		return
	}
	if topics.KeyPart([]byte(who.GetSource()), r.home.Of) != r.home.Number {
		return
	}
	f := ledger.Found{Origin: ledger.Origin{AtMs: m.GetAtMs(), Region: r.env.Region}, Machine: machineOf(who),
		Folder: m.GetFolder(), Host: m.GetHost(), Tags: m.GetTags(), Disks: uint32(len(m.GetDisks())), Gone: m.GetGone()}
	for _, d := range m.GetDisks() {
		f.DiskBytes += d.GetSizeBytes()
	}
	r.found[[2]string{who.GetSource(), who.GetId()}] = f
}

// inventory sends what was noted. The newest row of a machine counts, so that one
// sent twice does no harm.
func (r *room) inventory(in *stage.In) error {
	if len(r.found) == 0 {
		return nil
	}
	rows := slices.SortedFunc(maps.Values(r.found), func(a, b ledger.Found) int {
		return cmp.Or(cmp.Compare(a.Machine.Source, b.Machine.Source), cmp.Compare(a.Machine.ID, b.Machine.ID))
	})
	if err := r.deps.Ledger.Insert(in, "", ledger.Founds(rows)); err != nil {
		return err
	}
	clear(r.found)
	return nil
}
