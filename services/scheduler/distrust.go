package scheduler

import (
	"encoding/binary"
	"fmt"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Nobody can prove that a hypervisor's change tracking told the truth but by
// reading everything. So one backup in n does that, on its base: it inherits
// nothing, and the auditor compares each place that the tracking claims unchanged.
// After a lie every backup of the machine is such a full, until one found nothing.

// checkWhy says why a backup on a base must read all and compare; empty: it need not.
func (m *machine) checkWhy(o *schemas.OpenRun) string {
	if o.GetBase() == nil {
		return ""
	}
	if liar := m.row.GetDistrust(); len(liar) > 0 {
		return fmt.Sprintf("change tracking lied in backup %s, and is not believed before a full read finds it true", schemas.IDText(liar))
	}
	if n := m.source.found.GetCheckOneIn(); n > 0 && drawn(o.GetOrder().GetBackup(), n) {
		return fmt.Sprintf("one backup in %d is compared against a full read", n)
	}
	return ""
}

// drawn picks one backup in n by its id, which is a hash: every attempt of it alike.
func drawn(backup []byte, n uint32) bool {
	return len(backup) == 16 && binary.BigEndian.Uint32(backup[12:])%n == 0
}

// trust learns from what a completed backup compared. One that compared nothing,
// because the source forgot what it tracked, proves nothing.
func (m *machine) trust(v *schemas.Verdict, backup []byte) {
	switch t := v.GetTotals(); {
	case t.GetLiedPlaces() > 0:
		m.row.Distrust = backup
	case t.GetClaimedPlaces() > 0:
		m.row.Distrust = nil
	}
}
