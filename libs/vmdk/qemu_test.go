package vmdk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qemu runs qemu-img, which is not ours and therefore the judge.
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

// identical is all that qemu-img says where size and content are the same.
const identical = "Images are identical.\n"

func file(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestQemuReadsWhatWeWrite(t *testing.T) {
	for kind, content := range contents {
		for _, size := range sizes {
			disk := content(size)
			ours := file(t, encode(t, disk))
			if out := qemu(t, "compare", "-f", "raw", "-F", "vmdk", file(t, padded(disk)), ours); out != identical {
				t.Errorf("%s, %d bytes: %s", kind, size, out)
			}
			if out := qemu(t, "info", ours); !strings.Contains(out, "streamOptimized") {
				t.Errorf("%s, %d bytes: %s", kind, size, out)
			}
		}
	}
}

func TestWeReadWhatQemuWrites(t *testing.T) {
	for kind, content := range contents {
		for _, size := range sizes {
			disk := padded(content(size))
			theirs := filepath.Join(t.TempDir(), "vmdk")
			qemu(t, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", file(t, disk), theirs)
			b, err := os.ReadFile(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := decode(bytes.NewReader(b)); err != nil || !bytes.Equal(got, disk) {
				t.Errorf("%s, %d bytes: it differs, %v", kind, size, err)
			}
		}
	}
}

// qemu-img ends a stream without a marker; a cut at a grain's end must be seen all the same.
func TestAStreamOfQemuThatIsCut(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "vmdk")
	qemu(t, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", file(t, noise(1, 5*GrainSize)), theirs)
	b, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := decode(bytes.NewReader(b[:r.at])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut behind 4 grains of 5: %v", err)
	}
	zeros := append(bytes.Clone(b[:r.at]), make([]byte, 4*GrainSize)...)
	if _, _, err := decode(bytes.NewReader(zeros)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("zeros behind 4 grains of 5: %v", err)
	}
}

// 3 GiB with a few grains: only what is there is written, and read.
func TestALargeSparseDisk(t *testing.T) {
	const size = 3<<30 + 512
	raw, ours := filepath.Join(t.TempDir(), "raw"), filepath.Join(t.TempDir(), "vmdk")
	disk, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	out, err := os.Create(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w, err := NewWriter(out, Options{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	islands := []int64{0, 31 << 20, 1 << 30, 2<<30 + GrainSize, 3<<30 - GrainSize, 3 << 30}
	for i, at := range islands {
		p := noise(byte(i), int(min(GrainSize, size-at)))
		if _, err := disk.WriteAt(p, at); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteGrain(at, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := out.Stat(); err != nil || st.Size() > 1<<20 {
		t.Errorf("%d bytes for %d grains, %v", st.Size(), len(islands), err)
	}
	if out := qemu(t, "compare", "-f", "raw", "-F", "vmdk", raw, ours); out != identical {
		t.Error(out)
	}
	theirs := filepath.Join(t.TempDir(), "theirs")
	qemu(t, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, theirs)
	for _, path := range []string{ours, theirs} {
		if err := same(path, disk, islands); err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// same compares the grains of a stream with a disk that has only those at islands.
func same(path string, disk io.ReaderAt, islands []int64) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := NewReader(in)
	if err != nil {
		return err
	}
	for _, want := range islands {
		off, p, err := r.Next()
		if err != nil || off != want {
			return fmt.Errorf("grain at %d, want %d: %w", off, want, err)
		}
		there := make([]byte, len(p))
		if _, err := disk.ReadAt(there, off); err != nil || !bytes.Equal(there, p) {
			return fmt.Errorf("grain at %d differs: %w", off, err)
		}
	}
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the last grain: %w", err)
	}
	return nil
}
