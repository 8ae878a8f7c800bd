package vmdk

import "fmt"

// describe is the descriptor of a disk. The name of its extent is not read where
// the descriptor stands in the stream itself.
func describe(capacity uint64, adapter string) (string, error) {
	heads, sectors, cylindersMost := uint64(255), uint64(63), uint64(65535)
	switch adapter {
	case "":
		adapter = "lsilogic"
	case "lsilogic", "buslogic", "pvscsi":
	case "ide":
		heads, cylindersMost = 16, 16383
	default:
		return "", fmt.Errorf("adapter %q: want lsilogic, buslogic, pvscsi or ide", adapter)
	}
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "%s"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.virtualHWVersion = "4"
`, capacity, adapter, min(cylindersMost, divUp(capacity, heads*sectors)), heads, sectors), nil
}
