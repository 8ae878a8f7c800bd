package seal

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// A body that unpacks to more than its head says must cost no more memory than the
// head says, and must not pass.
func TestBombsAreBounded(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := z.EncodeAll(make([]byte, 256<<20), nil)
	x, err := newExpander()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 1000, 65536, PlainMax} {
		if out, err := x.expand(nil, bomb, Zstd, n); !errors.Is(err, ErrCorrupt) || cap(out) > 2*n+1024 {
			t.Errorf("256 MiB under a head of %d bytes: %v, %d bytes held", n, err, cap(out))
		}
	}
	whole := z.EncodeAll(make([]byte, PlainMax), nil) // within what any frame may hold, but not this one
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := x.expand(nil, whole, Zstd, 1000); !errors.Is(err, ErrCorrupt) {
		t.Errorf("16 MiB under a head of 1000 bytes: %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("16 MiB under a head of 1000 bytes cost %d bytes of memory", n)
	}
	short := z.EncodeAll(make([]byte, 100), nil)
	for _, n := range []int{99, 101} {
		if _, err := x.expand(nil, short, Zstd, n); !errors.Is(err, ErrCorrupt) {
			t.Errorf("100 bytes under a head of %d: %v", n, err)
		}
	}
}

// The minlz decoder takes snappy too; a vault does not, or one chunk had two forms.
func TestSnappyIsNotMinlz(t *testing.T) {
	plain := bytes.Repeat([]byte("holdfast"), 100)
	x, err := newExpander()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.expand(nil, snappy.Encode(nil, plain), Minlz, len(plain)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("snappy passes as minlz: %v", err)
	}
}

func FuzzExpand(f *testing.F) {
	plain := realistic(1, 2000)
	for _, m := range []Method{MethodZstd, MethodMinlz} {
		c, err := NewCompressor(m)
		if err != nil {
			f.Fatal(err)
		}
		body, codec := c.Compress(nil, plain)
		f.Add(body, uint8(codec), uint32(len(plain)))
	}
	f.Add([]byte("raw"), uint8(0), uint32(3))
	x, err := newExpander()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, codec uint8, n uint32) {
		n = n%(1<<20) + 1
		out, err := x.expand([]byte("xy"), body, Codec(codec), int(n))
		if err == nil && len(out) != int(n)+2 || string(out[:2]) != "xy" {
			t.Fatalf("%d bytes of %d: %v", len(out)-2, n, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, m := range Methods {
		b.Run(string(m), func(b *testing.B) {
			c, err := NewCompressor(m)
			if err != nil {
				b.Fatal(err)
			}
			s, plain := NewSealer([32]byte{1}), realistic(1, 1<<20)
			scratch, dst, out := make([]byte, 0, 70000), make([]byte, 0, 70000), 0
			b.SetBytes(65536)
			i := 0
			for b.Loop() {
				p := plain[i%16*65536:][:65536]
				body, codec := c.Compress(scratch, p)
				f, err := s.Append(dst, [32]byte{1}, body, codec, len(p))
				if err != nil {
					b.Fatal(err)
				}
				out += len(f)
				i++
			}
			b.ReportMetric(float64(i)*65536/float64(out), "ratio")
		})
	}
}
