package auditor

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// Keys of pages.filed: the backup's 16 bytes, "/" and the name of the row.
const (
	rowCompleting = "completing"
	rowVerdict    = "verdict"
	leasePrefix   = "lease/"
	filePrefix    = "file/"
	pagesPrefix   = "pages/"
	pointPrefix   = "point/"
	finishedRow   = "finished"
)

func leaseRow(lease []byte) string { return leasePrefix + hex.EncodeToString(lease) }

func fileRow(e *schemas.FileExported) string {
	name := filePrefix + hex.EncodeToString(e.Run.GetLease()) + "/"
	if e.Finished != nil {
		return name + finishedRow
	}
	return name + strconv.FormatUint(uint64(e.File), 10) + "/" + strconv.FormatUint(uint64(e.Part), 10)
}

// pagesRow names a row of filed pages; within is its name within the lease.
func pagesRow(lease []byte, within string) string {
	return pagesPrefix + hex.EncodeToString(lease) + "/" + within
}

// partRow names a row with a part of a point.
func partRow(lease []byte, name string, no uint32) string {
	return pointPrefix + hex.EncodeToString(lease) + "/" + partName(name, no)
}

func partName(name string, no uint32) string { return name + "/" + strconv.FormatUint(uint64(no), 10) }

// zeroRow names the row of an extent all of which is zero, within its lease.
func zeroRow(c *schemas.ExtentCut) string { return fmt.Sprintf("zero/%d/%d", c.File, c.Extent) }

// row writes, and with a nil row deletes, a row of ours.
func (r *room) row(backup schemas.UUID, name string, row *schemas.PageFiled) topics.Event {
	key := append(backup.Bytes(), "/"+name...)
	if row == nil {
		return topics.PagesFiled.Gone(key).To(r.Number)
	}
	return topics.PagesFiled.Event(key, row).To(r.Number)
}

// splitKey is the inverse: what a key names, and the lease within it if there is one.
func splitKey(key []byte) (backup schemas.UUID, name string, lease schemas.UUID, within string, ok bool) {
	if len(key) < 18 || key[16] != '/' {
		return backup, "", lease, "", false
	}
	backup, name = schemas.UUID(key[:16]), string(key[17:])
	kind, rest, found := strings.Cut(name, "/")
	if !found {
		return backup, name, lease, "", name == rowCompleting || name == rowVerdict
	}
	text, within, _ := strings.Cut(rest, "/")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(lease) {
		return backup, name, lease, "", false
	}
	switch kind + "/" {
	case leasePrefix, filePrefix, pagesPrefix, pointPrefix:
		return backup, name, schemas.UUID(raw), within, true
	}
	return backup, name, lease, "", false
}
