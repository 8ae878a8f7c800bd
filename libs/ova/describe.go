package ova

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Machine is what a descriptor tells of.
type Machine struct {
	Name   string
	Disks  []Disk
	Others []Other
}

// Disk is one disk, in the order of the machine's controller.
type Disk struct {
	File string // in the OVA
	Key  string // in the point: what a source's own descriptor calls its file, without the end
	Size int64  // of the disk, bytes
	Held int64  // of the file, bytes
}

// Other is a file that is no disk.
type Other struct {
	File string
	Size int64
}

const (
	namespace  = "http://schemas.dmtf.org/ovf/envelope/1"
	diskFormat = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"

	// What a machine has whose own settings are not known.
	cpus      = 2
	memoryMiB = 4096

	// A SCSI controller has 16 places, and is itself at the eighth.
	perController = 15
	ownPlace      = 7
)

// Unknown says what Describe makes up.
var Unknown = fmt.Sprintf("the point keeps no OVF descriptor: the OVA's machine has %d CPUs, %d MiB of memory, LSI Logic SCSI and no network; set them after the import", cpus, memoryMiB)

// Describe is the smallest descriptor that a machine can be imported from: its
// disks, on as many SCSI controllers as they need, and defaults for all else.
func Describe(m Machine) []byte {
	b := bytes.NewBufferString(xml.Header)
	fmt.Fprintf(b, `<Envelope xmlns="%s" xmlns:ovf="%[1]s"`+
		` xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"`+
		` xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">`+"\n", namespace)
	refs := make([]ref, 0, len(m.Disks)+len(m.Others))
	var disks []diskRef
	for i, d := range m.Disks {
		refs = append(refs, ref{fmt.Sprintf("file%d", i+1), d.File, d.Held})
		disks = append(disks, diskRef{fmt.Sprintf("vmdisk%d", i+1), refs[i].id, d.Size})
	}
	for i, o := range m.Others {
		refs = append(refs, ref{fmt.Sprintf("file%d", len(m.Disks)+i+1), o.File, o.Size})
	}
	b.WriteString(references(refs, namespace) + "\n" + diskSection(disks, namespace) + "\n")
	name := escaped(m.Name)
	fmt.Fprintf(b, "<VirtualSystem ovf:id=\"%s\">\n<Info>A virtual machine</Info>\n<Name>%s</Name>\n", name, name)
	b.WriteString("<OperatingSystemSection ovf:id=\"102\"><Info>The guest's system is not known</Info></OperatingSystemSection>\n")
	fmt.Fprintf(b, "<VirtualHardwareSection>\n<Info>Virtual hardware</Info>\n<System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName>"+
		"<vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>%s</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>\n", name)
	hardware(b, disks)
	b.WriteString("</VirtualHardwareSection>\n</VirtualSystem>\n</Envelope>\n")
	return b.Bytes()
}

// hardware writes the items of a machine. Their elements come in the order of their
// names, as the schema has it.
func hardware(b *bytes.Buffer, disks []diskRef) {
	fmt.Fprintf(b, "<Item><rasd:ElementName>CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>"+
		"<rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>%d</rasd:VirtualQuantity></Item>\n", cpus)
	fmt.Fprintf(b, "<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>Memory</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>"+
		"<rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>%d</rasd:VirtualQuantity></Item>\n", memoryMiB)
	for i := 0; i*perController < max(1, len(disks)); i++ {
		fmt.Fprintf(b, "<Item><rasd:Address>%d</rasd:Address><rasd:ElementName>SCSI controller %[1]d</rasd:ElementName><rasd:InstanceID>%d</rasd:InstanceID>"+
			"<rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>\n", i, controller(i))
	}
	for i, d := range disks {
		place := i % perController
		if place >= ownPlace {
			place++
		}
		fmt.Fprintf(b, "<Item><rasd:AddressOnParent>%d</rasd:AddressOnParent><rasd:ElementName>Disk %d</rasd:ElementName><rasd:HostResource>ovf:/disk/%s</rasd:HostResource>"+
			"<rasd:InstanceID>%d</rasd:InstanceID><rasd:Parent>%d</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>\n",
			place, i+1, d.id, controller(0)+1000+i, controller(i/perController))
	}
}

// controller is the instance id of a SCSI controller.
func controller(i int) int { return 100 + i }

// ref is a file that a descriptor names.
type ref struct {
	id, href string
	size     int64
}

func references(files []ref, space string) string {
	s := fmt.Sprintf("<ovf:References xmlns:ovf=\"%s\">\n", space)
	for _, f := range files {
		s += fmt.Sprintf("<ovf:File ovf:href=\"%s\" ovf:id=\"%s\" ovf:size=\"%d\"/>\n", escaped(f.href), escaped(f.id), f.size)
	}
	return s + "</ovf:References>"
}

// diskRef is a disk that a descriptor names, and its file.
type diskRef struct {
	id, file string
	size     int64
}

func diskSection(disks []diskRef, space string) string {
	s := fmt.Sprintf("<ovf:DiskSection xmlns:ovf=\"%s\">\n<ovf:Info>Virtual disks</ovf:Info>\n", space)
	for _, d := range disks {
		s += fmt.Sprintf("<ovf:Disk ovf:capacity=\"%d\" ovf:capacityAllocationUnits=\"byte\" ovf:diskId=\"%s\" ovf:fileRef=\"%s\" ovf:format=\"%s\"/>\n",
			d.size, escaped(d.id), escaped(d.file), diskFormat)
	}
	return s + "</ovf:DiskSection>"
}

func escaped(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) // a buffer takes all
	return b.String()
}
