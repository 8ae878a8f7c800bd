package exporter

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	// textBytes bounds what a reason or a warning says.
	textBytes = 1000
	// warningsMax bounds how many there are: what is behind them is counted.
	warningsMax = 50
	// snapshotMark begins the name of each snapshot of ours.
	snapshotMark = "holdfast-"
	uuidLen      = 36 // as text
)

// check says what is false about an order.
func check(o *schemas.BackupLeased) error {
	run := o.GetRun()
	if len(run.GetBackup()) != 16 {
		return fmt.Errorf("order with a backup id of %d bytes", len(run.GetBackup()))
	}
	if n := len(run.GetLease()); n != 16 && (n != 0 || o.Verb == schemas.BackupLeased_VERB_LEASED) {
		return fmt.Errorf("order for backup %s with a lease id of %d bytes", schemas.IDText(run.Backup), n)
	}
	if o.Verb == schemas.BackupLeased_VERB_LEASED && o.GetMachine().GetId() == "" {
		return fmt.Errorf("order for backup %s names no machine", schemas.IDText(run.Backup))
	}
	return nil
}

func completed(o *schemas.BackupLeased) bool { return o.Status == schemas.Status_STATUS_COMPLETED }

// folder is the name of a lease's folder in staging. It begins with the backup,
// so that the room whose it is can be told from it.
func folder(run *schemas.Run) string {
	return schemas.IDText(run.GetBackup()) + "." + schemas.IDText(run.GetLease())
}

// snapshotName is what a snapshot is called at its source.
func snapshotName(run *schemas.Run) string {
	return snapshotMark + schemas.IDText(run.GetBackup()) + "-" + schemas.IDText(run.GetLease())
}

func orderOf(o *schemas.BackupLeased) source.Order {
	return source.Order{Machine: o.GetMachine().GetId(), Name: snapshotName(o.GetRun()),
		Quiesce: o.GetOptions().GetQuiesce(), Exclude: o.GetOptions().GetExcludedDisks()}
}

func word(o *schemas.BackupLeased, w schemas.ExportEnded_Word) topics.Event {
	return ended(o, &schemas.ExportEnded{Word: w})
}

func ended(o *schemas.BackupLeased, e *schemas.ExportEnded) topics.Event {
	e.Run, e.Machine = o.GetRun(), o.GetMachine()
	return topics.ExportsEnded.Event([]byte(o.GetMachine().GetSource()), e)
}

func extentEvent(e *schemas.ExtentExported) topics.Event {
	key := append([]byte{}, e.Run.Backup...)
	key = binary.BigEndian.AppendUint32(key, e.File)
	return topics.ExtentsExported.Event(binary.BigEndian.AppendUint64(key, e.Extent), e)
}

func fileEvent(f *schemas.FileExported) topics.Event {
	return topics.FilesExported.Event(f.Run.Backup, f)
}

// text makes what an error or a provider says fit for a record.
func text(s string) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) > textBytes {
		s = strings.ToValidUTF8(s[:textBytes], "") + " ..."
	}
	return s
}

// texts does so with a list, and bounds it.
func texts(all []string) (out []string) {
	for i, s := range all {
		if i == warningsMax {
			return append(out, fmt.Sprintf("and %d more", len(all)-i))
		}
		out = append(out, text(s))
	}
	return out
}
