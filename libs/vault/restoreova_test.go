package vault

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// untar unpacks an OVA with a tar that is not ours, having compared its manifest.
func untar(t *testing.T, path string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("tar", "-xvf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	names := listed(t, path)
	if !strings.HasSuffix(names[0], ".ovf") || !strings.HasSuffix(names[len(names)-1], ".mf") {
		t.Errorf("%s holds %q: the descriptor is first, the manifest last", path, names)
	}
	mf, err := os.Open(filepath.Join(dir, names[len(names)-1]))
	if err != nil {
		t.Fatal(err)
	}
	defer mf.Close()
	n := 0
	for lines := bufio.NewScanner(mf); lines.Scan(); n++ {
		name, sum, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "SHA256("), ")= ")
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(b)) != sum {
			t.Errorf("manifest: %s: %v", lines.Text(), err)
		}
	}
	if n != len(names)-1 {
		t.Errorf("the manifest has %d lines for %q", n, names)
	}
	return dir
}

func listed(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

const keptOVF = `<?xml version="1.0" encoding="UTF-8"?>
<!-- its own -->
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="disk1.vmdk" ovf:id="file1" ovf:size="9"/>
    <File ovf:href="disk0.vmdk" ovf:id="file2"/>
    <File ovf:href="m.nvram" ovf:id="file3"/>
    <File ovf:href="tools.iso" ovf:id="file4"/>
  </References>
  <DiskSection><Info/><Disk ovf:capacity="1" ovf:diskId="vmdisk1" ovf:fileRef="file1"/><Disk ovf:capacity="2" ovf:diskId="vmdisk2" ovf:fileRef="file2"/></DiskSection>
  <VirtualSystem ovf:id="web &amp; co"><vmw:Config vmw:key="firmware" vmw:value="efi"/></VirtualSystem>
</Envelope>
`

// The machine's own descriptor is kept, and pointed at what the OVA holds; other
// files go along.
func TestAnOVAKeepsTheMachinesDescriptor(t *testing.T) {
	disk1, nvram := noise(9, 3*testGrid), noise(10, testGrid+99)
	more := []content{
		{"disk1.raw", schemas.FileExported_KIND_DISK, disk1},
		{"m.ovf", schemas.FileExported_KIND_CONFIG, []byte(keptOVF)},
		{"m.nvram", schemas.FileExported_KIND_NVRAM, nvram},
		{"sub/m.nvram", schemas.FileExported_KIND_NVRAM, nvram[:5]},
	}
	l := libraryOf(t, noise(8, 2*testGrid), more...)
	placed, warnings, err := l.all(t.TempDir(), OVA, false)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(warnings) != "[the OVF descriptor names tools.iso, which the OVA does not hold]" {
		t.Errorf("warnings: %q", warnings)
	}
	if names := listed(t, placed[0].Path); fmt.Sprint(names) != "[m.ovf disk0.vmdk disk1.vmdk m.nvram 2-m.nvram m.mf]" {
		t.Errorf("it holds %q", names)
	}
	dir := untar(t, placed[0].Path)
	equal(t, "vmdk", filepath.Join(dir, "disk0.vmdk"), l.disk)
	equal(t, "vmdk", filepath.Join(dir, "disk1.vmdk"), disk1)
	if b, err := os.ReadFile(filepath.Join(dir, "m.nvram")); err != nil || !bytes.Equal(b, nvram) {
		t.Errorf("nvram differs, %v", err)
	}
	ovf, err := os.ReadFile(filepath.Join(dir, "m.ovf"))
	l.must(err)
	st, err := os.Stat(filepath.Join(dir, "disk1.vmdk"))
	l.must(err)
	for _, want := range []string{"<!-- its own -->", `<VirtualSystem ovf:id="web &amp; co"><vmw:Config vmw:key="firmware" vmw:value="efi"/></VirtualSystem>`,
		fmt.Sprintf(`ovf:href="disk1.vmdk" ovf:id="file1" ovf:size="%d"`, st.Size()),
		fmt.Sprintf(`ovf:capacity="%d" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1"`, len(disk1)),
		fmt.Sprintf(`ovf:href="m.nvram" ovf:id="file3" ovf:size="%d"`, len(nvram))} {
		if !strings.Contains(string(ovf), want) {
			t.Errorf("the descriptor has no %s:\n%s", want, ovf)
		}
	}
}

// A descriptor of other disks, or of none, is not believed.
func TestAnOVAOfAnotherDescriptor(t *testing.T) {
	for name, ovf := range map[string]string{"other disks": keptOVF, "no XML": "<Envelope", "no OVF": "<a/>", "none": ""} {
		var more []content
		if name != "none" {
			more = []content{{"m.OVF", schemas.FileExported_KIND_CONFIG, []byte(ovf)}}
		}
		l := libraryOf(t, noise(8, testGrid), more...)
		placed, warnings, err := l.all(t.TempDir(), OVA, false)
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "2 CPUs, 4096 MiB") {
			t.Errorf("%s: %q, %v", name, warnings, err)
		}
		dir := untar(t, placed[0].Path)
		equal(t, "vmdk", filepath.Join(dir, "disk0.vmdk"), l.disk)
	}
}
