package vsphere

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func settingsOf() *Settings {
	return &Settings{Format: SettingsFormat, Name: "web", ID: "u", Attributes: map[string]string{"b": "2", "a": "1"},
		Disks: []SettingsDisk{{Key: "disk-u", Size: 1 << 20}},
		Config: types.VirtualMachineConfigInfo{Name: "web", Hardware: types.VirtualHardware{Device: []types.BaseVirtualDevice{flatDisk(2000, 1000, 0, "[ds] vm/a.vmdk", "u")}},
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "nvram", Value: "a.nvram"}}}}
}

// What was written is read as it was, devices with their types, and twice alike.
func TestSettings(t *testing.T) {
	a, err := settingsOf().encode()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := settingsOf().encode()
	got, err := DecodeSettings(bytes.NewReader(a))
	if err != nil || !bytes.Equal(a, b) || !reflect.DeepEqual(got, settingsOf()) {
		t.Errorf("%v: read %+v", err, got)
	}
	for _, bad := range []string{"", "{}", `{"format":"holdfast-vsphere-2"}`, `{"format":7}`, "null"} {
		if _, err := DecodeSettings(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// Settings come from a vault and may be anything: they are read, or refused.
func FuzzSettings(f *testing.F) {
	b, err := settingsOf().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"holdfast-vsphere-1","config":{"hardware":{"device":[{"_typeName":"VirtualDisk"},null,{"_typeName":"x"}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeSettings(bytes.NewReader(b))
		if err != nil {
			return
		}
		if _, err := got.encode(); err != nil {
			t.Errorf("what was read can't be written: %v", err)
		}
		for _, x := range disksOf(got.Config.Hardware.Device) {
			x.barred()
		}
	})
}
