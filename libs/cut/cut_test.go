package cut

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
)

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// A name is the same from a fresh and from a used Namer, and another under another key.
func TestNamesAreKeyedDigests(t *testing.T) {
	key := [32]byte{1, 2, 3}
	n := NewNamer(key)
	for _, size := range []int{0, 1, 511, 8192, 65536, 65537, 1 << 20} {
		b := noise(byte(size), size)
		if want := ID(keyedSum(t, key, keyedSum(t, DigestKey(key), b))); n.ID(b) != want {
			t.Errorf("%d bytes: %s, want %s", size, n.ID(b), want)
		}
		if NewNamer([32]byte{1, 2, 4}).ID(b) == n.ID(b) {
			t.Errorf("%d bytes: the key changes nothing", size)
		}
	}
	id := n.ID([]byte("holdfast"))
	if back, err := ParseID(id.String()); err != nil || back != id {
		t.Errorf("ParseID(%s) = %s, %v", id, back, err)
	}
	for _, s := range []string{"", "00", id.String() + "0", "g" + id.String()[1:]} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) takes it", s)
		}
	}
}

func TestNamingCostsNoAllocation(t *testing.T) {
	n, b := NewNamer([32]byte{9}), noise(1, GridDefault)
	if a := testing.AllocsPerRun(10, func() { n.ID(b) }); a != 0 {
		t.Errorf("%v allocations a name", a)
	}
}

// One set bit anywhere is seen, also beyond the first compared block.
func TestZero(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 65536, 65537, 200000} {
		b := make([]byte, size)
		if !Zero(b) {
			t.Errorf("%d zero bytes are not zero", size)
		}
		for _, at := range []int{0, size / 2, size - 1} {
			if size == 0 {
				continue
			}
			b[at] = 1
			if Zero(b) {
				t.Errorf("%d bytes with byte %d set are zero", size, at)
			}
			b[at] = 0
		}
	}
}

func TestGrid(t *testing.T) {
	for _, g := range []uint32{GridMin, GridDefault, GridMax} {
		if err := CheckGrid(g); err != nil {
			t.Error(err)
		}
	}
	for _, g := range []uint32{0, 1, GridMin / 2, 65535, 3 * GridMin, GridMax * 2} {
		if CheckGrid(g) == nil {
			t.Errorf("a grid of %d is taken", g)
		}
	}
}

// The digest is over places and ids together, so that neither a moved chunk nor a
// swapped pair passes.
func TestPageDigest(t *testing.T) {
	places, ids := []uint64{64, 65, 90}, noise(3, 96)
	var all []byte
	for i, p := range places {
		all = append(binary.BigEndian.AppendUint64(all, p), ids[32*i:32*i+32]...)
	}
	sum := blake3.Sum256(all)
	if d := PageDigest(places, ids); d != [16]byte(sum[:16]) {
		t.Errorf("digest %x, want %x", d, sum[:16])
	}
	if PageDigest(places, ids) != [16]byte(sum[:16]) {
		t.Error("a used hasher gives another digest")
	}
	if PageDigest([]uint64{64, 66, 90}, ids) == PageDigest(places, ids) {
		t.Error("a moved place has the same digest")
	}
	swapped := append(append(append([]byte(nil), ids[32:64]...), ids[:32]...), ids[64:]...)
	if PageDigest(places, swapped) == PageDigest(places, ids) {
		t.Error("swapped ids have the same digest")
	}
}

func BenchmarkID(b *testing.B) {
	n, p := NewNamer([32]byte{9}), noise(1, GridDefault)
	b.SetBytes(GridDefault)
	for b.Loop() {
		n.ID(p)
	}
}

// Blocks are the places of a blob, and their digests name them; a digest of zeros
// is that of so many zeros.
func TestBlocksAreNamedByTheirDigests(t *testing.T) {
	key := [32]byte{5}
	d, n := NewDigester(DigestKey(key)), NewNamer(key)
	if DigestKey(key) == key || DigestKey(key) == DigestKey([32]byte{6}) {
		t.Error("the digest key is no key of its own")
	}
	for _, size := range []int{0, 1, 4096, 4097, 3*4096 - 1} {
		blob := noise(7, size)
		sums := d.Blocks(nil, blob, 4096)
		if len(sums) != DigestBytes*((size+4095)/4096) {
			t.Fatalf("%d bytes: %d bytes of digests", size, len(sums))
		}
		for i := 0; i < size; i += 4096 {
			plain := blob[i:min(i+4096, size)]
			if sum := Digest(sums[i/4096*DigestBytes:]); n.Name(sum) != n.ID(plain) || !bytes.Equal(sum[:], keyedSum(t, DigestKey(key), plain)) {
				t.Errorf("%d bytes: the block at %d has another name than its bytes", size, i)
			}
		}
	}
	for _, size := range []int{0, 1, 65536, 65537, 1 << 20} {
		if d.Zeros(size) != d.Digest(make([]byte, size)) {
			t.Errorf("%d zeros have another digest", size)
		}
	}
}

func keyedSum(t *testing.T, key [32]byte, b []byte) []byte {
	t.Helper()
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		t.Fatal(err)
	}
	h.Write(b)
	return h.Sum(nil)
}
