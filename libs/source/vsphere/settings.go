package vsphere

import (
	"bytes"
	"fmt"
	"io"

	"github.com/vmware/govmomi/vim25/types"
)

// SettingsFormat is what Settings.Format says. Readers refuse another.
const SettingsFormat = "holdfast-vsphere-1"

// Settings is what settings.json holds: all that a machine is beside its disks'
// bytes. What has a name and an id is kept with both: ids are others elsewhere.
type Settings struct {
	Format     string            `json:"format"`
	VCenter    VCenter           `json:"vcenter"`
	Name       string            `json:"name"`
	Folder     string            `json:"folder"`
	ID         string            `json:"instanceUuid"`
	BIOS       string            `json:"biosUuid"`
	Tags       []string          `json:"tags,omitempty"`       // category/name
	Attributes map[string]string `json:"attributes,omitempty"` // custom ones, by name
	Policies   []Policy          `json:"storagePolicies,omitempty"`
	Networks   []Network         `json:"networks,omitempty"`
	Disks      []SettingsDisk    `json:"disks,omitempty"`
	// Config is VMware's own description: hardware, firmware, boot options and
	// extraConfig, with the type of each device beside it.
	Config types.VirtualMachineConfigInfo `json:"config"`
}

// VCenter is where a machine was.
type VCenter struct {
	ID      string `json:"instanceUuid"`
	Version string `json:"version"`
}

// Policy is a storage policy of the machine's home, or of one disk.
type Policy struct {
	Disk string `json:"disk,omitempty"` // the file's key; empty: the home
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Network is one network card.
type Network struct {
	Device  int32  `json:"device"`
	Label   string `json:"label"`
	Type    string `json:"type"` // VirtualVmxnet3, ...
	MAC     string `json:"mac"`
	Network string `json:"network,omitempty"` // its name
}

// SettingsDisk is one disk, whether its bytes are in the backup or not.
type SettingsDisk struct {
	Key      string `json:"key"` // of the file that has its bytes
	Device   int32  `json:"device"`
	Label    string `json:"label"`
	Place    string `json:"place,omitempty"` // controller and unit
	Size     int64  `json:"sizeBytes"`
	Backing  string `json:"backing,omitempty"` // [datastore] folder/file.vmdk
	Thin     bool   `json:"thin,omitempty"`
	Excluded bool   `json:"excluded,omitempty"` // its bytes are not in the backup
}

// encode gives readable JSON, the same for the same settings.
func (t *Settings) encode() ([]byte, error) {
	var b bytes.Buffer
	e := types.NewJSONEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(t); err != nil {
		return nil, fmt.Errorf("write settings.json: %w", err)
	}
	return b.Bytes(), nil
}

// DecodeSettings reads settings.json.
func DecodeSettings(r io.Reader) (*Settings, error) {
	var t Settings
	if err := types.NewJSONDecoder(r).Decode(&t); err != nil {
		return nil, fmt.Errorf("read settings.json: %w", err)
	}
	if t.Format != SettingsFormat {
		return nil, fmt.Errorf("read settings.json: format %q, want %q", t.Format, SettingsFormat)
	}
	return &t, nil
}
