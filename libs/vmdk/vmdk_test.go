package vmdk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// content makes n bytes of a kind that a test names.
var contents = map[string]func(n int) []byte{
	"zero":  func(n int) []byte { return make([]byte, n) },
	"noise": func(n int) []byte { return noise(1, n) },
	"text":  func(n int) []byte { return bytes.Repeat([]byte("a line of a log\n"), n/16+1)[:n] },
	"sparse": func(n int) []byte {
		b := make([]byte, n)
		for at := 0; at < n; at += 5*GrainSize + 512 {
			copy(b[at:], noise(byte(at), 700))
		}
		return b
	},
}

// sizes are such as end with a grain, a sector, a byte and a table; a table finds 32 MiB.
var sizes = []int{0, 1, 512, GrainSize, GrainSize + 512, 3*GrainSize + 1, 33<<20 + 1536}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// encode is the stream of a disk.
func encode(t testing.TB, disk []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{Size: int64(len(disk))})
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(disk); at += GrainSize {
		if err := w.WriteGrain(int64(at), disk[at:min(at+GrainSize, len(disk))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// decode is the disk of a stream, and how many grains it has. No test asks for
// more memory than diskMost.
func decode(in io.Reader) (disk []byte, grains int, err error) {
	const diskMost = 64 << 20
	r, err := NewReader(in)
	if err != nil {
		return nil, 0, err
	}
	if r.Size() <= diskMost {
		disk = make([]byte, r.Size())
	}
	last := int64(-1)
	for ; ; grains++ {
		off, p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return disk, grains, nil
		}
		if err != nil {
			if _, _, again := r.Next(); again != err {
				err = fmt.Errorf("%v; then %v", err, again) // of no kind that a test wants
			}
			return disk, grains, err
		}
		if off <= last || len(p) == 0 || off+int64(len(p)) > r.Size() {
			return disk, grains, fmt.Errorf("grain of %d bytes at %d after %d of a disk of %d", len(p), off, last, r.Size())
		}
		last = off
		if disk != nil {
			copy(disk[off:], p)
		}
	}
}

// padded is a disk as a VMDK can have it: whole sectors, and one at least.
func padded(disk []byte) []byte {
	return append(bytes.Clone(disk), make([]byte, max(sector, (len(disk)+sector-1)/sector*sector)-len(disk))...)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for kind, content := range contents {
		for _, size := range sizes {
			disk := content(size)
			got, grains, err := decode(bytes.NewReader(encode(t, disk)))
			if err != nil || !bytes.Equal(got, padded(disk)) {
				t.Errorf("%s, %d bytes: it differs, %v", kind, size, err)
			}
			if kind == "zero" && grains > 0 {
				t.Errorf("%s, %d bytes: %d grains, want none", kind, size, grains)
			}
		}
	}
}

// A stream may come in single bytes.
func TestAStreamThatTrickles(t *testing.T) {
	disk := contents["sparse"](3*GrainSize + 1)
	got, _, err := decode(&trickle{encode(t, disk)})
	if err != nil || !bytes.Equal(got, padded(disk)) {
		t.Errorf("it differs, %v", err)
	}
}

type trickle struct{ b []byte }

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(1, len(p))], r.b)
	r.b = r.b[n:]
	return n, nil
}

// Wherever a stream is cut, the reader says so, and that it was only cut.
func TestACutStreamIsSeen(t *testing.T) {
	whole := lying(1024).grain(0, contents["text"](GrainSize)).grain(256, noise(1, GrainSize)).mark(markTable, 0).foot(1024).Bytes()
	for n := range whole {
		if edge := n % sector; edge > 20 && edge < sector-1 && n%97 != 0 {
			continue // all about a sector's edge and marker, and some of what lies between
		}
		if _, _, err := decode(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut behind byte %d of %d: %v", n, len(whole), err)
		}
	}
}

// An error of the connection is told as it is.
func TestAnErrorOfTheStreamIsKept(t *testing.T) {
	whole := encode(t, noise(1, 5*GrainSize))
	reset := errors.New("connection reset")
	for _, n := range []int{0, 100, sector, 3000, dataSector * sector, len(whole) / 2, len(whole) - 1} {
		_, _, err := decode(io.MultiReader(bytes.NewReader(whole[:n]), failing{reset}))
		if !errors.Is(err, reset) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("behind byte %d: %v", n, err)
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestTheWriterRefuses(t *testing.T) {
	open := func(size int64) *Writer {
		w, err := NewWriter(io.Discard, Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	full := make([]byte, GrainSize)
	for name, do := range map[string]func() error{
		"a grain twice": func() error {
			w := open(GrainSize)
			return errors.Join(w.WriteGrain(0, full), w.WriteGrain(0, full))
		},
		"a step back": func() error {
			w := open(3 * GrainSize)
			return errors.Join(w.WriteGrain(2*GrainSize, full), w.WriteGrain(GrainSize, full))
		},
		"between two grains": func() error { return open(3*GrainSize).WriteGrain(512, full) },
		"behind the end":     func() error { return open(GrainSize).WriteGrain(GrainSize, full) },
		"across the end":     func() error { return open(GrainSize+512).WriteGrain(GrainSize, full) },
		"a short grain":      func() error { return open(2*GrainSize).WriteGrain(0, full[:512]) },
		"a negative place":   func() error { return open(GrainSize).WriteGrain(-GrainSize, full) },
		"after the end":      func() error { w := open(GrainSize); w.Close(); return w.WriteGrain(0, full) },
		"a second end":       func() error { w := open(GrainSize); w.Close(); return w.Close() },
		"an end after an error": func() error {
			w := open(GrainSize)
			w.WriteGrain(1, full)
			return w.Close()
		},
		"a huge disk":        func() error { _, err := NewWriter(io.Discard, Options{Size: SizeMax + 1}); return err },
		"a negative disk":    func() error { _, err := NewWriter(io.Discard, Options{Size: -1}); return err },
		"an unknown adapter": func() error { _, err := NewWriter(io.Discard, Options{Adapter: "floppy"}); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A full disk below the stream is an error, at the latest when it is closed.
func TestTheWriterTellsOfAFullDisk(t *testing.T) {
	size := len(encode(t, noise(1, 9*GrainSize)))
	full := errors.New("no space left")
	for room := 0; room < size; room += 10_000 {
		w, err := NewWriter(&narrow{room, full}, Options{Size: 9 * GrainSize})
		for at := int64(0); err == nil && at < 9*GrainSize; at += GrainSize {
			err = w.WriteGrain(at, noise(byte(at), GrainSize))
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, full) {
			t.Errorf("room for %d bytes of %d: %v", room, size, err)
		}
	}
}

type narrow struct {
	room int
	err  error
}

func (n *narrow) Write(b []byte) (int, error) {
	if n.room -= len(b); n.room < 0 {
		return 0, n.err
	}
	return len(b), nil
}
