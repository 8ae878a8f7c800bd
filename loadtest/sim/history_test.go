//go:build synctests

package sim

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// histories tell, for each export that is left, every word between the scheduler
// and the exporter on its backup.
func (w *world) histories() (lines []string) {
	for _, row := range rows(w.scribe, topics.ExportsOpen) {
		if row.Phase == schemas.ExportOpen_PHASE_ENDED && len(row.Older) == 0 {
			continue
		}
		id := string(row.Order.Run.Backup)
		lines = append(lines, "backup "+schemas.IDText(row.Order.Run.Backup)+":")
		w.scribe.mu.Lock()
		for _, spec := range []topics.Spec{topics.BackupsLeased.Spec, topics.ExportsOpen.Spec, topics.ExportsEnded.Spec} {
			for _, rec := range w.scribe.records[spec.Name] {
				if text := word(spec, rec.Value, id); text != "" {
					by := ""
					for _, h := range rec.Headers {
						if h.Key == forged {
							by = " (said again by us)"
						}
					}
					lines = append(lines, fmt.Sprintf("  %s %s/%d@%d %s%s", rec.Timestamp.UTC().Format("15:04:05.000"), spec.Name, rec.Partition, rec.Offset, text, by))
				}
			}
		}
		w.scribe.mu.Unlock()
	}
	return lines
}

// word is what a record says of a backup; empty: nothing.
func word(spec topics.Spec, value []byte, backup string) string {
	of := func(r *schemas.Run) string {
		if string(r.GetBackup()) != backup {
			return ""
		}
		return fmt.Sprintf("attempt %d lease %.8s ", r.Attempt, schemas.IDText(r.Lease))
	}
	switch spec.Name {
	case topics.BackupsLeased.Name:
		if m, err := topics.BackupsLeased.Decode(value); err == nil && of(m.Run) != "" {
			return of(m.Run) + m.Verb.String() + " " + m.Reason
		}
	case topics.ExportsOpen.Name:
		if m, err := topics.ExportsOpen.Decode(value); err == nil && of(m.GetOrder().GetRun()) != "" {
			return of(m.Order.Run) + fmt.Sprintf("%v ending %v, %d older, %s", m.Phase, m.Ending, len(m.Older), m.Failure)
		}
	case topics.ExportsEnded.Name:
		if m, err := topics.ExportsEnded.Decode(value); err == nil && of(m.Run) != "" {
			return of(m.Run) + m.Word.String() + " " + m.Reason
		}
	}
	return ""
}
