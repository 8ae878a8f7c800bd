package vault

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Format is what disks are restored as. What is no disk is restored as it is.
type Format string

const (
	Raw   Format = "raw"   // sparse; the one in which a restore that was cut off goes on
	VMDK  Format = "vmdk"  // streamOptimized, to import
	OVA   Format = "ova"   // one file: a descriptor, all disks as VMDK, all else as it is
	QCOW2 Format = "qcow2" // version 3, not compressed
)

// Formats lists every format, the default first.
var Formats = []Format{Raw, VMDK, OVA, QCOW2}

// ParseFormat is the format of a name; none is raw.
func ParseFormat(name string) (Format, error) {
	if name == "" {
		return Raw, nil
	}
	if !slices.Contains(Formats, Format(name)) {
		return "", fmt.Errorf("format %q: want one of %v", name, Formats)
	}
	return Format(name), nil
}

// sector is what disks of every format but raw are counted in.
const sector = 512

// padded says that a disk is longer than it was, if it is.
func padded(f *schemas.PointFile, as Format) []string {
	if f.SizeBytes > 0 && f.SizeBytes%sector == 0 || f.SizeBytes == 0 && as == QCOW2 {
		return nil
	}
	to := max(1, (f.SizeBytes+sector-1)/sector) * sector
	return []string{fmt.Sprintf("%s has %d bytes; as %s it has %d, filled with zeros, because such a disk is counted in sectors of %d", f.Name, f.SizeBytes, as, to, sector)}
}

// isDisk says whether a file is the bytes of a disk, which can be converted.
func isDisk(f *schemas.PointFile) bool {
	return f.Kind == schemas.FileExported_KIND_DISK && !isImage(f)
}

// isImage says whether a disk is held in a format already, as a folder of images has
// them: within another, no machine would start from it. The name tells, because the
// first bytes are what a guest wrote.
func isImage(f *schemas.PointFile) bool {
	switch strings.ToLower(filepath.Ext(f.Name)) {
	case ".qcow2", ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx":
		return f.Kind == schemas.FileExported_KIND_DISK
	}
	return false
}

// asItIs says that an image was not converted.
func asItIs(f *schemas.PointFile, as Format) []string {
	if as == Raw || !isImage(f) {
		return nil
	}
	return []string{fmt.Sprintf("%s is no raw disk but an image of another format; it is restored as it is, qemu-img converts it", f.Name)}
}

// named is the name of a disk in another format: disk0.raw becomes disk0.vmdk.
func (f Format) named(name string) string {
	if ext := filepath.Ext(name); ext == ".raw" || ext == ".img" {
		name = strings.TrimSuffix(name, ext)
	}
	return name + "." + string(f)
}
