package vcenter

import (
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CreateDescriptor writes the OVF of a machine: its files as the caller names
// them, its disks and what hardware they need.
func (x *ovfX) CreateDescriptor(c *simulator.Context, req *types.CreateDescriptor) soap.HasFault {
	m := x.v.byRef(req.Obj)
	if m == nil {
		return &methods.CreateDescriptorBody{Fault_: simulator.Fault("A specified parameter was not correct: obj", invalid("obj"))}
	}
	vm := x.v.vm(m.ref)
	var text string
	var err error
	c.WithLock(vm, func() { text, err = describeOVF(vm, req.Cdp) })
	if err != nil {
		return &methods.CreateDescriptorBody{Fault_: simulator.Fault(err.Error(), &types.OvfExport{})}
	}
	return &methods.CreateDescriptorBody{Res: &types.CreateDescriptorResponse{Returnval: types.OvfCreateDescriptorResult{OvfDescriptor: text}}}
}

type ovfFile struct {
	ID, Path string
	Size     int64
}

type ovfDisk struct {
	ID, File     string
	Size         int64
	Instance     int32
	Parent, Unit int32
}

type ovfItem struct {
	Instance, Kind, Bus int32
	Name, Sub           string
}

func describeOVF(vm *simulator.VirtualMachine, cdp types.OvfCreateDescriptorParams) (string, error) {
	data := struct {
		Name, Guest, Version, Firmware, Network string
		CPUs, Memory                            int32
		Files                                   []ovfFile
		Disks                                   []ovfDisk
		Controllers                             []ovfItem
	}{Name: vm.Name, Guest: vm.Config.GuestId, Version: vm.Config.Version, Firmware: vm.Config.Firmware,
		CPUs: vm.Config.Hardware.NumCPU, Memory: vm.Config.Hardware.MemoryMB, Network: "VM Network"}
	if cdp.Name != "" {
		data.Name = cdp.Name
	}
	for i, f := range cdp.OvfFiles {
		data.Files = append(data.Files, ovfFile{fmt.Sprintf("file%d", i+1), f.Path, f.Size})
	}
	for _, dev := range vm.Config.Hardware.Device {
		switch d := dev.(type) {
		case types.BaseVirtualSCSIController:
			ctl := d.GetVirtualSCSIController()
			data.Controllers = append(data.Controllers, ovfItem{ctl.Key, 6, ctl.BusNumber, fmt.Sprintf("SCSI controller %d", ctl.BusNumber), "VirtualSCSI"})
		case *types.VirtualDisk:
			one := ovfDisk{ID: fmt.Sprintf("vmdisk%d", len(data.Disks)+1), Size: d.CapacityInBytes, Instance: d.Key, Parent: d.ControllerKey}
			if d.UnitNumber != nil {
				one.Unit = *d.UnitNumber
			}
			for i, f := range cdp.OvfFiles {
				if strings.HasSuffix(f.DeviceId, fmt.Sprintf(":%d", one.Unit)) {
					one.File = data.Files[i].ID
				}
			}
			data.Disks = append(data.Disks, one)
		}
	}
	var b strings.Builder
	err := ovfText.Execute(&b, data)
	return b.String(), err
}

var ovfText = template.Must(template.New("ovf").Funcs(template.FuncMap{"x": func(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}}).Parse(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>{{range .Files}}
    <File ovf:id="{{.ID}}" ovf:href="{{x .Path}}" ovf:size="{{.Size}}"/>{{end}}
  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>{{range .Disks}}
    <Disk ovf:capacity="{{.Size}}" ovf:capacityAllocationUnits="byte" ovf:diskId="{{.ID}}"{{if .File}} ovf:fileRef="{{.File}}"{{end}} ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>{{end}}
  </DiskSection>
  <NetworkSection>
    <Info>The list of logical networks</Info>
    <Network ovf:name="{{x .Network}}"/>
  </NetworkSection>
  <VirtualSystem ovf:id="{{x .Name}}">
    <Info>A virtual machine</Info>
    <Name>{{x .Name}}</Name>
    <OperatingSystemSection ovf:id="1" vmw:osType="{{x .Guest}}"><Info>The kind of guest</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>{{x .Version}}</vssd:VirtualSystemType></System>
      <Item><rasd:ElementName>{{.CPUs}} virtual CPU(s)</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>{{.CPUs}}</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>{{.Memory}}MB of memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>{{.Memory}}</rasd:VirtualQuantity></Item>{{range .Controllers}}
      <Item><rasd:Address>{{.Bus}}</rasd:Address><rasd:ElementName>{{.Name}}</rasd:ElementName><rasd:InstanceID>{{.Instance}}</rasd:InstanceID><rasd:ResourceSubType>{{.Sub}}</rasd:ResourceSubType><rasd:ResourceType>{{.Kind}}</rasd:ResourceType></Item>{{end}}{{range .Disks}}
      <Item><rasd:AddressOnParent>{{.Unit}}</rasd:AddressOnParent><rasd:ElementName>Hard disk</rasd:ElementName><rasd:HostResource>ovf:/disk/{{.ID}}</rasd:HostResource><rasd:InstanceID>{{.Instance}}</rasd:InstanceID><rasd:Parent>{{.Parent}}</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>{{end}}
      <Item><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation><rasd:Connection>{{x .Network}}</rasd:Connection><rasd:ElementName>Network adapter 1</rasd:ElementName><rasd:InstanceID>4000</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{{x .Firmware}}"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`))
