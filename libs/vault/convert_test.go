package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/vmdk"
	"github.com/holdfast-backup/holdfast/schemas"
)

// qemu runs qemu-img, the judge of what we convert.
func qemu(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not here: make deps installs it")
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// equal compares a disk in another format with its bytes, filled up to sectors.
func equal(t *testing.T, format, path string, disk []byte) {
	t.Helper()
	least := sector
	if format == "qcow2" {
		least = 0
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, append(bytes.Clone(disk), make([]byte, max(least, (len(disk)+sector-1)/sector*sector)-len(disk))...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := qemu(t, "compare", "-f", "raw", "-F", format, raw, path); out != "Images are identical.\n" {
		t.Errorf("%s: %s", path, out)
	}
	if format == "qcow2" {
		if out := qemu(t, "check", "-f", format, path); !strings.Contains(out, "No errors were found") {
			t.Errorf("%s: %s", path, out)
		}
	}
}

// libraryOf is a vault with one point of a disk and other files.
func libraryOf(t *testing.T, disk []byte, more ...content) *library {
	t.Helper()
	l := &library{rig: newRig(t, 2, 1, 1), disk: disk, more: more}
	var err error
	l.ring, err = NewRing()
	l.must(err)
	l.fill(t)
	return l
}

// disks of each shape, with how many bytes they are filled up to sectors.
func disks() map[string][]byte {
	sparse := make([]byte, 3*64*testGrid)
	copy(sparse[2*64*testGrid+5*testGrid+700:], "an island")
	return map[string][]byte{
		"empty":  nil,
		"odd":    noise(1, 2*testGrid+777),
		"sparse": sparse,
		"dense":  noise(2, 40*testGrid),
	}
}

// all restores every file of a library's point.
func (l *library) all(dir string, as Format, force bool) (placed []Placed, warnings []string, err error) {
	r := l.reader()
	p, err := r.Point(l.t.Context(), l.path)
	l.must(err)
	placed, err = Place(p, nil, dir, nil, as)
	l.must(err)
	for _, f := range placed {
		var done, written uint64
		w, err := r.RestorePlaced(l.t.Context(), p, f, force, func(d, w uint64) { done, written = d, w })
		if err != nil {
			return placed, warnings, err
		}
		if done != f.Size() || written > done {
			l.t.Errorf("%s: told of %d bytes and %d written, of %d", f.Path, done, written, f.Size())
		}
		warnings = append(warnings, w...)
	}
	return placed, warnings, nil
}

func TestDisksBecomeOtherFormats(t *testing.T) {
	for shape, disk := range disks() {
		for _, as := range Formats {
			t.Run(fmt.Sprint(shape, " as ", as), func(t *testing.T) {
				l, dir := libraryOf(t, disk), t.TempDir()
				placed, warnings, err := l.all(dir, as, false)
				if err != nil {
					t.Fatal(err)
				}
				if odd := len(disk)%sector > 0 || len(disk) == 0 && as != QCOW2; as != Raw && odd != strings.Contains(fmt.Sprint(warnings), "filled with zeros") {
					t.Errorf("%d bytes: warnings %q", len(disk), warnings)
				}
				switch as {
				case Raw:
					if b, err := os.ReadFile(filepath.Join(dir, "disk0.raw")); err != nil || !bytes.Equal(b, disk) {
						t.Errorf("it differs, %v", err)
					}
				case OVA:
					equal(t, "vmdk", filepath.Join(untar(t, placed[0].Path), "disk0.vmdk"), disk)
				default:
					equal(t, string(as), filepath.Join(dir, "disk0."+string(as)), disk)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "*"+partial)); len(left) > 0 {
					t.Errorf("%s is left", left)
				}
			})
		}
	}
}

// Grids smaller and larger than a grain, chunks that come twice or across grains.
func TestGrainsAreMadeOfChunks(t *testing.T) {
	for _, grid := range []int{cut.GridMin, 32 << 10, 64 << 10, cut.GridMax} {
		disk := noise(3, 3<<20+1000)
		clear(disk[64<<10 : 300<<10])
		g := &gather{}
		for at := (len(disk) - 1) / grid * grid; at >= 0; at -= grid { // backwards, and each twice
			if b := disk[at:min(at+grid, len(disk))]; !cut.Zero(b) {
				g.WriteAt(b, int64(at))
				g.WriteAt(b, int64(at))
			}
		}
		got, last := make([]byte, len(disk)), int64(-1)
		err := g.pass(func(off int64, b []byte) error {
			if off <= last {
				return fmt.Errorf("byte %d after %d", off, last)
			}
			last = off
			copy(got[off:], b)
			return nil
		})
		if err != nil || !bytes.Equal(got, disk) {
			t.Errorf("grid %d: it differs, %v", grid, err)
		}
		if len(g.chunks) > 0 || len(g.memory) > 0 {
			t.Errorf("grid %d: %d chunks are kept", grid, len(g.chunks))
		}
	}
}

// A place of a grain that no chunk covers is zero, whatever the grain before it had.
func TestAGrainOfFewChunks(t *testing.T) {
	const size = 3*vmdk.GrainSize + 100
	disk := noise(3, size)
	clear(disk[vmdk.GrainSize+cut.GridMin : 3*vmdk.GrainSize])
	var out bytes.Buffer
	w, err := vmdk.NewWriter(&out, vmdk.Options{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	g := &grains{to: w, size: size}
	for at := 0; at < size; at += cut.GridMin {
		if b := disk[at:min(at+cut.GridMin, size)]; !cut.Zero(b) {
			if err := g.put(int64(at), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(g.flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vmdk")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, "vmdk", path, disk)
}

// A damaged target costs no format its disk: what is read again is not written twice.
func TestConvertingMendsDamage(t *testing.T) {
	for _, as := range []Format{VMDK, QCOW2} {
		l, dir := libraryOf(t, noise(4, 100*testGrid)), t.TempDir()
		l.break_(t, "flipped", 1)
		if _, _, err := l.all(dir, as, false); err != nil {
			t.Fatal(err)
		}
		equal(t, string(as), filepath.Join(dir, "disk0."+string(as)), l.disk)
	}
}

// A restore that was cut off begins anew, whatever lies there; a file that is there
// stays, unless it is forced.
func TestConvertingBeginsAnew(t *testing.T) {
	for _, as := range []Format{VMDK, OVA, QCOW2} {
		l, dir := libraryOf(t, noise(5, 5*testGrid+512)), t.TempDir()
		placed, _, err := l.all(filepath.Join(dir, "fresh"), as, false)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(placed[0].Path)
		l.must(err)
		path := filepath.Join(dir, filepath.Base(placed[0].Path))
		l.must(os.WriteFile(path+partial, noise(6, 9*testGrid), 0o600))
		if _, _, err := l.all(dir, as, false); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		l.must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: over what an earlier restore left it differs", as)
		}
		if _, _, err := l.all(dir, as, false); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: restored over: %v", as, err)
		}
		if _, _, err := l.all(dir, as, true); err != nil {
			t.Errorf("%s: forced: %v", as, err)
		}
	}
}

// What can't be read to its end has no name that says it is whole.
func TestAHalfConvertedDiskHasNoName(t *testing.T) {
	for _, as := range []Format{VMDK, OVA, QCOW2} {
		l, dir := libraryOf(t, noise(7, 100*testGrid)), t.TempDir()
		l.break_(t, "flipped", 0, 1)
		placed, _, err := l.all(dir, as, false)
		if err == nil {
			t.Fatalf("%s: two of three targets are damaged, and no error", as)
		}
		if _, err := os.Stat(placed[0].Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %s: %v", as, placed[0].Path, err)
		}
	}
}

func TestOnlyDisksAreConverted(t *testing.T) {
	l := libraryOf(t, noise(8, testGrid), content{"settings.json", schemas.FileExported_KIND_CONFIG, []byte("{}")})
	for _, as := range []Format{VMDK, QCOW2} {
		dir := t.TempDir()
		if _, _, err := l.all(dir, as, false); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "settings.json")); err != nil || string(b) != "{}" {
			t.Errorf("%s: settings are %q, %v", as, b, err)
		}
	}
	for _, as := range Formats {
		placed, err := Place(l.point, []string{"settings.json"}, "/to", nil, as)
		if err != nil || len(placed) != 1 || placed[0].As != Raw || placed[0].Path != "/to/settings.json" {
			t.Errorf("%s: settings alone: %v, %v", as, placed, err)
		}
	}
}

// A disk that lies in a folder of images as qcow2 is not put into another format.
func TestAnImageIsNotConvertedAgain(t *testing.T) {
	image := noise(9, testGrid)
	l := libraryOf(t, noise(8, testGrid), content{"d.qcow2", schemas.FileExported_KIND_DISK, image})
	for _, as := range Formats {
		dir := t.TempDir()
		placed, warnings, err := l.all(dir, as, false)
		if err != nil || (as != Raw) != strings.Contains(fmt.Sprint(warnings), "d.qcow2 is no raw disk") {
			t.Errorf("%s: %q, %v", as, warnings, err)
		}
		if as == OVA {
			dir = untar(t, placed[0].Path)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "d.qcow2")); err != nil || !bytes.Equal(b, image) {
			t.Errorf("%s: it differs, %v", as, err)
		}
	}
	if placed, err := Place(l.point, []string{"d.qcow2"}, "/to", nil, OVA); err != nil || placed[0].As != Raw || len(placed[0].Notes) != 1 {
		t.Errorf("alone: %v, %v", placed, err)
	}
}

func TestPlaceNamesDisksByTheirFormat(t *testing.T) {
	p := &Point{Machine: &schemas.Machine{Name: "a b/ü"}, Files: []*schemas.PointFile{
		{Name: "disk0.raw", Kind: schemas.FileExported_KIND_DISK}, {Name: "data", Kind: schemas.FileExported_KIND_DISK},
		{Name: "d.v2", Kind: schemas.FileExported_KIND_DISK}, {Name: "sub/x.img", Kind: schemas.FileExported_KIND_DISK},
		{Name: "nvram.raw", Kind: schemas.FileExported_KIND_NVRAM}}}
	for as, want := range map[Format]string{
		Raw:   "/to/disk0.raw /to/data /to/d.v2 /to/sub/x.img /to/nvram.raw",
		VMDK:  "/to/disk0.vmdk /to/data.vmdk /to/d.v2.vmdk /to/sub/x.vmdk /to/nvram.raw",
		QCOW2: "/to/disk0.qcow2 /to/data.qcow2 /to/d.v2.qcow2 /to/sub/x.qcow2 /to/nvram.raw",
		OVA:   "/to/a_b__.ova",
	} {
		placed, err := Place(p, nil, "/to", nil, as)
		var got []string
		for _, f := range placed {
			got = append(got, f.Path)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", as, got, err)
		}
	}
	p.Files = append(p.Files, &schemas.PointFile{Name: "disk0.qcow2"})
	if _, err := Place(p, nil, "/to", nil, QCOW2); err == nil || !strings.Contains(err.Error(), "would both be restored") {
		t.Errorf("two files of one name: %v", err)
	}
	if _, err := Place(p, nil, "/to", map[string]string{"data": "x"}, OVA); err == nil {
		t.Error("an OVA took another name for a disk")
	}
	if _, err := ParseFormat("vhd"); err == nil || !strings.Contains(err.Error(), "[raw vmdk ova qcow2]") {
		t.Errorf("vhd: %v", err)
	}
	if f, err := ParseFormat(""); f != Raw || err != nil {
		t.Errorf("no format is %q, %v", f, err)
	}
}
