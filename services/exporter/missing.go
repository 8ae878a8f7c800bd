package exporter

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/schemas"
)

// missing says which files of the last point the machine has no more. Nobody may
// have meant to take them away: an image that vanished while an attempt read it is
// not there when the next one looks.
func missing(base *schemas.Point, o source.Order, now []source.File) (warnings []string) {
	there := map[string]bool{}
	for _, f := range now {
		there[f.Key] = true
	}
	for _, f := range base.GetFiles() {
		if there[f.Key] || o.Excludes(source.File{Key: f.Key, Name: f.Key, Kind: schemas.FileExported_KIND_DISK}) {
			continue
		}
		warnings = append(warnings, fmt.Sprintf("file %q of %d bytes, which the last point has, is gone from the machine", f.Key, f.SizeBytes))
	}
	return warnings
}
