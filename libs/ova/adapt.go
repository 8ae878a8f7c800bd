package ova

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// kept is what a descriptor says of files and disks, and where.
type kept struct {
	space             string // of its elements
	references, disks [2]int64
	files             map[string]string // id by the name of the file
	order             []keptDisk
}

type keptDisk struct{ id, file, href string }

// Adapt returns a machine's own descriptor with its references and disks pointed at
// the files of m; all else stays byte by byte. missing names the files that it had
// and m has not: what used them will not be there. An error says why it can't be
// adapted: it is no descriptor, or one of other disks.
func Adapt(descriptor []byte, m Machine) (out []byte, missing []string, err error) {
	k, err := read(descriptor)
	if err != nil {
		return nil, nil, err
	}
	if len(k.order) != len(m.Disks) {
		return nil, nil, fmt.Errorf("it has %d disks, the OVA %d", len(k.order), len(m.Disks))
	}
	var refs []ref
	var disks []diskRef
	used := map[string]bool{}
	for i, d := range k.match(m.Disks) {
		old := k.order[i]
		if old.file == "" || used[old.file] {
			old.file = fmt.Sprintf("holdfast-disk%d", i+1)
		}
		used[old.file] = true
		refs = append(refs, ref{old.file, d.File, d.Held})
		disks = append(disks, diskRef{old.id, old.file, d.Size})
	}
	for i, o := range m.Others {
		id, ok := k.files[path.Base(o.File)]
		if !ok || used[id] {
			id = fmt.Sprintf("holdfast-file%d", i+1)
		}
		used[id] = true
		refs = append(refs, ref{id, o.File, o.Size})
	}
	for name, id := range k.files {
		if !used[id] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return k.replace(descriptor, references(refs, k.space), diskSection(disks, k.space)), missing, nil
}

// match gives each disk of a descriptor its own: by the key that its file is named
// by, if all are, else by their order.
func (k *kept) match(disks []Disk) []Disk {
	byKey := map[string]Disk{}
	for _, d := range disks {
		byKey[stem(d.Key)] = d
	}
	var all []Disk
	for _, old := range k.order {
		d, ok := byKey[stem(old.href)]
		if !ok {
			return disks
		}
		delete(byKey, stem(old.href))
		all = append(all, d)
	}
	return all
}

func stem(name string) string {
	name = path.Base(name)
	return strings.TrimSuffix(name, path.Ext(name))
}

// replace puts two elements into the places of those that were there.
func (k *kept) replace(b []byte, references, disks string) []byte {
	first, second := k.references, k.disks
	if first[0] > second[0] {
		first, second, references, disks = second, first, disks, references
	}
	return bytes.Join([][]byte{b[:first[0]], []byte(references), b[first[1]:second[0]], []byte(disks), b[second[1]:]}, nil)
}

var errNoDescriptor = errors.New("it has not one References and one DiskSection of OVF")

// read finds what is replaced.
func read(b []byte) (*kept, error) {
	k := &kept{files: map[string]string{}}
	hrefs := map[string]string{} // by id
	d := xml.NewDecoder(bytes.NewReader(b))
	for depth, found := 0, 0; ; {
		from := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if found != 2 || k.references[1] == 0 || k.disks[1] == 0 {
				return nil, errNoDescriptor
			}
			break
		}
		if err != nil {
			return nil, fmt.Errorf("descriptor: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth == 2 && (t.Name.Local == "References" || t.Name.Local == "DiskSection") {
				if found++; k.space != "" && k.space != t.Name.Space || !strings.HasPrefix(t.Name.Space, "http://schemas.dmtf.org/ovf/envelope/") {
					return nil, errNoDescriptor
				}
				k.space = t.Name.Space
				*k.span(t.Name.Local) = [2]int64{from, 0}
			} else if depth == 3 && t.Name.Local == "File" {
				hrefs[attr(t, "id")] = attr(t, "href")
				k.files[path.Base(attr(t, "href"))] = attr(t, "id")
			} else if depth == 3 && t.Name.Local == "Disk" {
				k.order = append(k.order, keptDisk{attr(t, "diskId"), attr(t, "fileRef"), ""})
			}
		case xml.EndElement:
			if depth--; depth == 1 && (t.Name.Local == "References" || t.Name.Local == "DiskSection") {
				k.span(t.Name.Local)[1] = d.InputOffset()
			}
		}
	}
	for i := range k.order {
		k.order[i].href = path.Base(hrefs[k.order[i].file])
	}
	return k, nil
}

func (k *kept) span(name string) *[2]int64 {
	if name == "References" {
		return &k.references
	}
	return &k.disks
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
