package ova

import (
	"fmt"
	"strings"
	"testing"
)

func descriptor(files, disks string) []byte {
	return []byte(`<Envelope xmlns="` + namespace + `" xmlns:ovf="` + namespace + `"><References>` + files + `</References><DiskSection>` + disks + `</DiskSection></Envelope>`)
}

// Which file becomes which disk's: by the key if each has one, else by the order; an
// empty disk of the descriptor gets the file that it had not.
func TestAdaptFindsEachDisk(t *testing.T) {
	disks := []Disk{{File: "first", Key: "disk-a", Size: 1}, {File: "second", Key: "disk-b.raw", Size: 2}}
	for name, c := range map[string]struct{ files, want string }{
		"by key":          {`<File ovf:id="x" ovf:href="disk-b.vmdk"/><File ovf:id="y" ovf:href="disk-a.vmdk"/>`, "x second 1:x 2:y"},
		"by order":        {`<File ovf:id="x" ovf:href="disk-b.vmdk"/><File ovf:id="y" ovf:href="other.vmdk"/>`, "x first 1:x 2:y"},
		"one key twice":   {`<File ovf:id="x" ovf:href="disk-b.vmdk"/><File ovf:id="y" ovf:href="sub/disk-b.vmdk"/>`, "x first 1:x 2:y"},
		"without files":   {``, "holdfast-disk1 first 1:holdfast-disk1 2:holdfast-disk2"},
		"one without one": {`<File ovf:id="y" ovf:href="other.vmdk"/>`, "holdfast-disk1 first 1:holdfast-disk1 2:y"},
	} {
		refs := [2]string{}
		for i, id := range []string{"x", "y"} {
			if strings.Contains(c.files, `"`+id+`"`) {
				refs[i] = fmt.Sprintf(` ovf:fileRef="%s"`, id)
			}
		}
		b := descriptor(c.files, `<Disk ovf:diskId="1"`+refs[0]+`/><Disk ovf:diskId="2"`+refs[1]+`/>`)
		out, missing, err := Adapt(b, Machine{Disks: disks})
		if err != nil || len(missing) > 0 {
			t.Errorf("%s: %v, %v", name, missing, err)
			continue
		}
		k, err := read(out)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s", k.order[0].file, k.order[0].href)
		for _, d := range k.order {
			got += fmt.Sprintf(" %s:%s", d.id, d.file)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAdaptRefuses(t *testing.T) {
	one := Machine{Disks: []Disk{{File: "d", Key: "d"}}}
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"no XML":             []byte("<Envelope"),
		"another schema":     []byte(strings.ReplaceAll(string(descriptor("", `<Disk ovf:diskId="1"/>`)), namespace, "http://example.com/")),
		"no references":      []byte(`<Envelope xmlns="` + namespace + `"><DiskSection><Disk/></DiskSection></Envelope>`),
		"references twice":   []byte(`<Envelope xmlns="` + namespace + `"><References/><References/><DiskSection><Disk/></DiskSection></Envelope>`),
		"no disk":            descriptor("", ""),
		"one disk more":      descriptor("", `<Disk ovf:diskId="1"/><Disk ovf:diskId="2"/>`),
		"another's encoding": []byte(`<?xml version="1.0" encoding="UTF-16"?>` + string(descriptor("", `<Disk ovf:diskId="1"/>`))),
	} {
		if out, _, err := Adapt(b, one); err == nil {
			t.Errorf("%s: taken: %s", name, out)
		}
	}
	if _, _, err := Adapt(descriptor("", `<Disk ovf:diskId="1"/>`), one); err != nil {
		t.Errorf("a sound one: %v", err)
	}
}
