package vcenter

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// sector is the unit of a descriptor.
const sector = 512

// describe writes a layer's descriptor where a real one stands: beside its
// extent, naming it, its size and its parent.
func describe(root string, l *layer) error {
	kind, parent, hint := "VMFS", "ffffffff", ""
	create := "vmfs"
	if !l.base {
		kind, create, parent = "VMFSSPARSE", "vmfsSparse", "fffffffe"
		hint = fmt.Sprintf("parentFileNameHint=%q\n", path.Base(l.parent.file.Path))
	}
	text := fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=%s
createType="%s"
%s
# Extent description
RW %d %s "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.thinProvisioned = "1"
ddb.virtualHWVersion = "19"
`, parent, create, hint, (l.size+sector-1)/sector, kind, path.Base(filepath.ToSlash(l.data)))
	file := filepath.Join(root, filepath.FromSlash(l.file.Path))
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "\n\n\n", "\n\n")), 0o600); err != nil {
		return fmt.Errorf("write descriptor of %s: %w", l.file.String(), err)
	}
	return nil
}
