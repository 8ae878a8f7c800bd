package ova

import (
	"archive/tar"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "ova"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Files of every length, streamed or placed, come back by their names.
func TestATarOfWhatWasAdded(t *testing.T) {
	f := open(t)
	w := New(f, "m.ovf", 1000, time.Unix(1e9, 5))
	want := map[string]int{"m.ovf": 1000}
	for _, size := range []int{0, 1, 511, 512, 513, 5000} {
		b := bytes.Repeat([]byte{7}, size)
		name := fmt.Sprint("streamed", size)
		want[name] = size
		n, err := w.Stream(name, func(to io.Writer) error { _, err := to.Write(b); return err })
		if err != nil || n != int64(size) {
			t.Fatal(n, err)
		}
		name = fmt.Sprint("placed", size)
		want[name] = size
		if err := w.Place(name, int64(size), func(to io.WriterAt) error { _, err := to.WriteAt(b[:size/2], 0); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close([]byte("<Envelope/>")); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(io.NewSectionReader(f, 0, 1<<40))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "m.mf" {
			continue
		}
		b, err := io.ReadAll(r)
		size, ok := want[h.Name]
		if !ok || err != nil || len(b) != size || !h.ModTime.Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s of %s has %d bytes, %v", h.Name, h.ModTime, len(b), err)
		}
		if sevens := bytes.Count(b, []byte{7}); strings.HasPrefix(h.Name, "placed") && sevens != size/2 || strings.HasPrefix(h.Name, "streamed") && sevens != size {
			t.Errorf("%s: %d bytes of its own", h.Name, sevens)
		}
		delete(want, h.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestTheWriterRefuses(t *testing.T) {
	why := errors.New("why")
	w := New(open(t), "m.ovf", 10, time.Time{})
	if _, err := w.Stream("a", func(io.Writer) error { return why }); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := w.Place("a", 1, func(io.WriterAt) error { return why }); !errors.Is(err, why) {
		t.Error(err)
	}
	if err := w.Close(make([]byte, 11)); err == nil {
		t.Error("a descriptor that is too long is taken")
	}
	if err := w.head(strings.Repeat("n", 300), 9<<30, 0); !errors.Is(err, errLongHead) {
		t.Errorf("a name of 300 bytes: %v", err)
	}
}

// An error of the file is told, whichever of its calls fails.
func TestTheWriterTellsOfAFullDisk(t *testing.T) {
	full := errors.New("no space left")
	whole := func(room int) error {
		w := New(&narrow{open(t), room, full}, "m.ovf", 10, time.Time{})
		one := []byte{1}
		if _, err := w.Stream("a", func(to io.Writer) error { _, err := to.Write(one); return err }); err != nil {
			return err
		}
		if err := w.Place("b", 1, func(to io.WriterAt) error { _, err := to.WriteAt(one, 0); return err }); err != nil {
			return err
		}
		return w.Close(one)
	}
	const calls = 3 + 3 + 5 // content, head, end; descriptor and manifest have four, and an end
	if err := whole(calls); err != nil {
		t.Fatal(err)
	}
	for room := range calls {
		if err := whole(room); !errors.Is(err, full) {
			t.Errorf("room for %d calls: %v", room, err)
		}
	}
}

// narrow takes some calls.
type narrow struct {
	File
	room int
	err  error
}

func (n *narrow) WriteAt(p []byte, at int64) (int, error) {
	if n.room--; n.room < 0 {
		return 0, n.err
	}
	return n.File.WriteAt(p, at)
}

func (n *narrow) Truncate(size int64) error {
	if n.room--; n.room < 0 {
		return n.err
	}
	return n.File.Truncate(size)
}

// A size that octal digits do not hold has one header all the same.
func TestALargeFileHasOneHeader(t *testing.T) {
	for _, size := range []int64{octalMost, octalMost + 1, 3 << 40} {
		f := open(t)
		if err := New(f, "m.ovf", 0, time.Unix(1e9, 0)).head("disk", size, 0); err != nil {
			t.Fatal(err)
		}
		h, err := tar.NewReader(f).Next()
		if err != nil || h.Size != size || h.Name != "disk" {
			t.Errorf("%d bytes: %+v, %v", size, h, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"web-01": "web-01", "a b/c": "a_b_c", "Büro": "B_ro", "": "machine", "...": "machine", ".x": "x", "\xff\xfe": "machine",
		strings.Repeat("n", 200): strings.Repeat("n", nameMost)} {
		if got := Name(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// 17 disks need two controllers, and none lies where a controller is.
func TestDescribeFindsAPlaceForEachDisk(t *testing.T) {
	m := Machine{Name: `a "machine" <&> ü`, Others: []Other{{"nvram", 9}}}
	for i := range 17 {
		m.Disks = append(m.Disks, Disk{File: fmt.Sprintf("d%d.vmdk", i), Size: int64(i) << 30, Held: 1000})
	}
	b := Describe(m)
	var e struct {
		References struct {
			File []struct {
				Href string `xml:"href,attr"`
			}
		}
		DiskSection struct {
			Disk []struct {
				ID  string `xml:"diskId,attr"`
				Cap int64  `xml:"capacity,attr"`
			}
		}
		VirtualSystem struct {
			Name                   string
			VirtualHardwareSection struct {
				Item []struct {
					AddressOnParent, InstanceID, Parent, ResourceType int
					HostResource                                      string
				}
			}
		}
	}
	if err := xml.Unmarshal(b, &e); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if e.VirtualSystem.Name != m.Name || len(e.References.File) != 18 || len(e.DiskSection.Disk) != 17 || e.DiskSection.Disk[16].Cap != 16<<30 {
		t.Errorf("%+v", e)
	}
	places, controllers, ids := map[[2]int]bool{}, map[int]bool{}, map[int]bool{}
	n := 0
	for _, i := range e.VirtualSystem.VirtualHardwareSection.Item {
		if ids[i.InstanceID] {
			t.Errorf("two items are %d", i.InstanceID)
		}
		ids[i.InstanceID] = true
		switch i.ResourceType {
		case 6:
			controllers[i.InstanceID] = true
		case 17:
			at := [2]int{i.Parent, i.AddressOnParent}
			if places[at] || !controllers[i.Parent] || i.AddressOnParent == 7 || i.AddressOnParent > 15 || i.HostResource != "ovf:/disk/"+e.DiskSection.Disk[n].ID {
				t.Errorf("disk %d: %+v", n, i)
			}
			places[at] = true
			n++
		}
	}
	if n != 17 || len(controllers) != 2 {
		t.Errorf("%d disks on %d controllers", n, len(controllers))
	}
	again, missing, err := Adapt(b, m)
	if err != nil || len(missing) > 0 || !bytes.Contains(again, []byte(`ovf:href="nvram" ovf:id="file18"`)) {
		t.Errorf("its own descriptor can't be adapted: %v, %v\n%s", missing, err, again)
	}
}

// Whatever a descriptor is, what becomes of it is one of the same disks, and all
// that is neither reference nor disk stays.
func FuzzAdapt(f *testing.F) {
	m := Machine{Name: "m", Disks: []Disk{{"d0.vmdk", "d0", 1 << 20, 9}, {"d1.vmdk", "d1", 2 << 20, 9}}, Others: []Other{{"nvram", 7}}}
	f.Add(Describe(m))
	f.Add([]byte(`<e:Envelope xmlns:e="http://schemas.dmtf.org/ovf/envelope/2"><e:DiskSection><e:Disk e:diskId="a"/><e:Disk e:diskId="b&amp;"/></e:DiskSection><!-- --><e:References/></e:Envelope>`))
	f.Add([]byte(`<Envelope/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, _, err := Adapt(b, m)
		if err != nil {
			return
		}
		before, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		after, err := read(out)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for i := range before.order {
			if before.order[i].id != after.order[i].id {
				t.Errorf("disk %d was %q and is %q", i, before.order[i].id, after.order[i].id)
			}
		}
		if !bytes.Equal(before.replace(b, "", ""), after.replace(out, "", "")) {
			t.Errorf("more than files and disks is changed: %s", out)
		}
	})
}
