package seal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"testing"
)

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// realistic is data that compresses about 2:1, as chunks of real disks do: words of a
// small vocabulary with noise between.
func realistic(seed byte, n int) []byte {
	r := rand.New(rand.NewChaCha8([32]byte{seed}))
	words := make([][]byte, 512)
	for i := range words {
		words[i] = noise(byte(i), 4+r.IntN(12))
	}
	b := make([]byte, 0, n+32)
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
		if r.IntN(3) == 0 {
			b = append(b, noise(byte(r.Uint32()), 6)...)
			b[len(b)-1] ^= byte(r.Uint32())
		}
	}
	return b[:n]
}

func opener(t testing.TB) *Opener {
	t.Helper()
	o, err := NewOpener()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func frames(t testing.TB, m Method, s *Sealer, chunks ...[]byte) (out [][]byte) {
	t.Helper()
	c, err := NewCompressor(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range chunks {
		body, codec := c.Compress(nil, p)
		f, err := s.Append(nil, sha256.Sum256(p), body, codec, len(p))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// Every method gives back every kind of chunk, raw ones where packing does not pay.
func TestFramesComeBack(t *testing.T) {
	chunks := [][]byte{{7}, []byte("holdfast"), noise(1, 65536), realistic(2, 65536), make([]byte, 65536), realistic(3, 1<<20), noise(4, PlainMax), make([]byte, PlainMax)}
	key := [32]byte{5}
	for _, m := range append(Methods, "") {
		o, out := opener(t), []byte("before")
		for i, f := range frames(t, m, NewSealer(key), chunks...) {
			h, err := ParseHead(f)
			if err != nil || h.Counter != uint32(i) || int(h.Plain) != len(chunks[i]) {
				t.Fatalf("%s: chunk %d: head %+v, %v", m, i, h, err)
			}
			out, err = o.Open(out[:6], AEAD(key), sha256.Sum256(chunks[i]), f)
			if err != nil {
				t.Fatalf("%s: chunk %d: %v", m, i, err)
			}
			if !bytes.Equal(out[6:], chunks[i]) || string(out[:6]) != "before" {
				t.Errorf("%s: chunk %d comes back changed", m, i)
			}
			if len(f) > len(chunks[i])+Overhead {
				t.Errorf("%s: chunk %d: a frame of %d bytes for %d", m, i, len(f), len(chunks[i]))
			}
			if i == 2 && h.Codec != Raw {
				t.Errorf("%s: noise is packed as %s", m, h.Codec)
			}
		}
	}
	if _, err := NewCompressor("brotli"); err == nil {
		t.Error("an unknown method is taken")
	}
}

// Any flipped bit, but for the slot's, is found; so is another name or key.
func TestFramesAreBound(t *testing.T) {
	key, plain := [32]byte{6}, realistic(1, 300)
	id := sha256.Sum256(plain)
	f := frames(t, MethodZstd, NewSealer(key), plain)[0]
	o := opener(t)
	for i := 8; i < 8*len(f); i++ {
		bad := bytes.Clone(f)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := o.Open(nil, AEAD(key), id, bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range f {
		if _, err := o.Open(nil, AEAD(key), id, f[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	other := id
	other[31] ^= 1
	if _, err := o.Open(nil, AEAD(key), other, f); !errors.Is(err, ErrCorrupt) {
		t.Errorf("under another name: %v", err)
	}
	if _, err := o.Open(nil, AEAD([32]byte{7}), id, f); !errors.Is(err, ErrCorrupt) {
		t.Errorf("under another key: %v", err)
	}
}

// Counters under one key never repeat, and end before they wrap.
func TestCountersNeverRepeat(t *testing.T) {
	s := NewSealer([32]byte{1})
	seen := map[uint32]bool{}
	for range 1000 {
		f, err := s.Append(nil, [32]byte{}, []byte{1}, Raw, 1)
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHead(f)
		if err != nil || seen[h.Counter] {
			t.Fatalf("counter %d again: %v", h.Counter, err)
		}
		seen[h.Counter] = true
	}
	s.next = 1<<32 - 1
	if _, err := s.Append(nil, [32]byte{}, []byte{1}, Raw, 1); err != nil {
		t.Fatalf("the last counter: %v", err)
	}
	if _, err := s.Append(nil, [32]byte{}, []byte{1}, Raw, 1); err == nil {
		t.Error("the counter wraps: a nonce comes twice")
	}
}

func TestSealRefusesWhatNoFrameHolds(t *testing.T) {
	s := NewSealer([32]byte{1})
	for _, c := range []struct{ body, plain int }{{0, 0}, {2, 1}, {5, PlainMax + 1}} {
		if _, err := s.Append(nil, [32]byte{}, make([]byte, c.body), Raw, c.plain); err == nil {
			t.Errorf("a body of %d bytes for %d plain is sealed", c.body, c.plain)
		}
	}
}

func TestSealingCostsNoAllocation(t *testing.T) {
	c, err := NewCompressor(MethodZstd)
	if err != nil {
		t.Fatal(err)
	}
	s, plain := NewSealer([32]byte{1}), realistic(1, 65536)
	scratch, dst := make([]byte, 0, 70000), make([]byte, 0, 70000)
	a := testing.AllocsPerRun(20, func() {
		body, codec := c.Compress(scratch, plain)
		if _, err := s.Append(dst, [32]byte{1}, body, codec, len(plain)); err != nil {
			t.Fatal(err)
		}
	})
	if a > 0 {
		t.Errorf("%v allocations a chunk", a)
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add(frames(f, MethodZstd, NewSealer([32]byte{1}), []byte("holdfast holdfast holdfast holdfast"))[0])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHead(b)
		if err == nil && !bytes.HasPrefix(b, h.put(nil)) {
			t.Fatalf("%+v is not what stands there", h)
		}
		if _, err := opener(t).Open(nil, AEAD([32]byte{1}), [32]byte{2}, b); err == nil {
			t.Fatal("a frame that nobody sealed opens")
		}
	})
}
