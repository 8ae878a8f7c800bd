package shard

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
)

var update = flag.Bool("update", false, "write golden files anew: only for a new format version")

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Every choice of m lost shards gives the bytes back, of whole shards and of a
// range of them, for codes with and without parity and lengths around a shard's end.
func TestAnyKGiveTheBytesBack(t *testing.T) {
	for _, km := range [][2]int{{1, 0}, {4, 0}, {1, 2}, {2, 1}, {4, 2}, {5, 3}} {
		c, err := New(km[0], km[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, length := range []int{1, 2, c.K, c.K + 1, 1000, 4096 * c.K, 4096*c.K - 1, 4096*c.K + 1} {
			data := random(length, uint64(length))
			set, err := c.Split(data)
			if err != nil {
				t.Fatal(err)
			}
			for lost := range 1 << c.N() {
				some := slices.Clone(set.Shards)
				n := 0
				for i := range some {
					if lost>>i&1 == 1 {
						some[i], n = nil, n+1
					}
				}
				err := c.Rebuild(some)
				if n > c.M {
					if err == nil {
						t.Fatalf("%d+%d: rebuilt from %d shards", c.K, c.M, c.N()-n)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Join(nil, some, length)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d+%d of %d bytes without %b: %v", c.K, c.M, length, lost, err)
				}
			}
			if l := c.ShardBytes(length); l > 2 && c.M > 0 { // a range alone
				part := make([][]byte, c.N())
				for i := range part {
					part[i] = set.Shards[i][1 : l-1]
				}
				part[0] = nil
				if err := c.RebuildData(part); err != nil || !bytes.Equal(part[0], set.Shards[0][1:l-1]) {
					t.Fatalf("a range of a shard was not rebuilt: %v", err)
				}
			}
			set.Release()
		}
	}
}

// Who made data and who splits it tell the same hashes, however the last shards are padded.
func TestSumsAreThoseOfTheShards(t *testing.T) {
	for _, k := range []int{1, 2, 4, 7} {
		c, err := New(k, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 3, 8, 9, 10_001} {
			data := random(n, 1)
			set, err := c.Split(data)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for _, s := range set.Shards[:k] {
				sum := Sum(s)
				want = append(want, sum[:]...)
			}
			if !bytes.Equal(Sums(k, data), want) {
				t.Errorf("%d bytes in %d shards: the sums are of other shards", n, k)
			}
		}
	}
}

// Buffers that come back are dirty: padding must be zero all the same, or equal
// packs have unequal shards and the second put meets other bytes. The data is
// neither copied where it need not be, nor changed.
func TestSplitIsAFunctionOfItsBytes(t *testing.T) {
	c, err := New(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	data := random(10_001, 1)
	kept := slices.Clone(data)
	first, err := c.Split(data)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for _, s := range first.Shards {
		want = append(want, slices.Clone(s))
	}
	if &first.Shards[0][0] != &data[0] {
		t.Error("a whole data shard was copied")
	}
	for range 20 {
		dirty, err := c.Split(bytes.Repeat([]byte{0xff}, 12_000))
		if err != nil {
			t.Fatal(err)
		}
		dirty.Release()
		again, err := c.Split(data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !bytes.Equal(again.Shards[i], want[i]) {
				t.Fatalf("shard %d differs", i)
			}
		}
		again.Release()
	}
	if !bytes.Equal(data, kept) {
		t.Error("the data was changed")
	}
}

func TestRefusals(t *testing.T) {
	for _, km := range [][2]int{{0, 1}, {-1, 3}, {1, -1}, {200, 56}} {
		if _, err := New(km[0], km[1]); err == nil {
			t.Errorf("made a code of %v", km)
		}
	}
	c, err := New(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Split(nil); err == nil {
		t.Error("split nothing")
	}
	if _, err := c.Join(nil, [][]byte{{1}, {2, 3}}, 4); err == nil {
		t.Error("joined shards of other lengths")
	}
	if err := c.Rebuild([][]byte{{1}, {2}}); err == nil {
		t.Error("rebuilt from a list without a place for each shard")
	}
}

func testHeader() Header {
	h := Header{N: 3, Gen: 1, K: 4, M: 2, Length: 9}
	copy(h.Pack[:], random(24, 7))
	return h
}

// The bytes of version 1. A reader of any later version must still read them.
func TestGoldenHeader(t *testing.T) {
	const name = "testdata/header.v1.hex"
	payload := []byte{1, 2, 3}
	got := testHeader().Seal(payload)
	if *update {
		if err := os.WriteFile(name, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || len(got) != HeaderBytes {
		t.Errorf("a header is written as\n%x, was\n%x", got, want)
	}
	h, err := ParseHeader(append(want, payload...))
	wantHeader := testHeader()
	wantHeader.Hash = blake3.Sum256(payload)
	if err != nil || h != wantHeader {
		t.Errorf("read as %+v, %v", h, err)
	}
	if err := h.Check(payload); err != nil {
		t.Error(err)
	}
}

// No flipped bit of a header or payload passes.
func TestEveryFlipIsSeen(t *testing.T) {
	payload := []byte{1, 2, 3}
	good := append(testHeader().Seal(payload), payload...)
	for bit := range 8 * len(good) {
		b := slices.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		h, err := ParseHeader(b)
		if err == nil {
			err = h.Check(b[HeaderBytes:])
		}
		if err == nil {
			t.Errorf("bit %d flipped and not seen", bit)
		}
		if bit/8 != 7 && !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	h, _ := ParseHeader(good)
	if err := h.Check(payload[:2]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a short payload: %v", err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(testHeader().Seal([]byte{1, 2, 3}))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.Append(nil), b[:HeaderBytes]) {
			t.Errorf("%x is another spelling of %+v", b[:HeaderBytes], h)
		}
		if h.PayloadBytes() == 0 {
			t.Error("a shard without payload")
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	c, err := New(4, 2)
	if err != nil {
		b.Fatal(err)
	}
	for _, length := range []int{16 << 20, 16<<20 - 1000} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			data := random(length, 1)
			b.SetBytes(int64(length))
			for b.Loop() {
				set, err := c.Split(data)
				if err != nil {
					b.Fatal(err)
				}
				for i, s := range set.Shards {
					Header{N: uint8(i), K: 4, M: 2, Length: uint64(length)}.Seal(s)
				}
				set.Release()
			}
		})
	}
}
