package cut

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// stream draws data that looks like archives: noise, runs of one byte, repeats.
func stream(t *rapid.T) []byte {
	var b []byte
	for range rapid.IntRange(0, 6).Draw(t, "parts") {
		n := rapid.IntRange(1, 300<<10).Draw(t, "bytes")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			b = append(b, noise(rapid.Byte().Draw(t, "seed"), n)...)
		case 1:
			b = append(b, bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)...)
		case 2:
			b = append(b, b[:min(len(b), n)]...)
		}
	}
	return b
}

// Whatever comes in: the chunks are the data, within bounds, and the same again.
func TestSplitKeepsEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := stream(t)
		chunks := slices.Collect(Split(data))
		if !bytes.Equal(bytes.Join(chunks, nil), data) {
			t.Fatal("the chunks are not the data")
		}
		for i, c := range chunks {
			if len(c) > SplitMax || len(c) == 0 || len(c) < SplitMin && i != len(chunks)-1 {
				t.Fatalf("chunk %d of %d has %d bytes", i, len(chunks), len(c))
			}
		}
		if i := 1; len(chunks) > 2 {
			rest := slices.Collect(Split(data[len(chunks[0]):]))
			if !bytes.Equal(rest[0], chunks[i]) {
				t.Fatal("a cut depends on what lies before the last one")
			}
		}
	})
}

// An insertion costs the chunks it touches and a few behind, and no more: that is
// what cutting by content is for.
func TestInsertionMovesFewCuts(t *testing.T) {
	data := noise(7, 4<<20)
	old := map[string]bool{}
	for c := range Split(data) {
		old[string(c)] = true
	}
	for _, at := range []int{0, 1 << 20, 3<<20 + 17} {
		changed := slices.Concat(data[:at], []byte("a line"), data[at:])
		fresh := 0
		for c := range Split(changed) {
			if !old[string(c)] {
				fresh++
			}
		}
		if fresh == 0 || fresh > 6 {
			t.Errorf("6 bytes put in at %d make %d chunks of %d new", at, fresh, len(old))
		}
	}
}

func TestSizesGatherRoundTheAverage(t *testing.T) {
	data := noise(8, 16<<20)
	n := 0
	for range Split(data) {
		n++
	}
	if avg := len(data) / n; avg < SplitAvg*3/4 || avg > SplitAvg*3/2 {
		t.Errorf("noise gives chunks of %d bytes on average, want about %d", avg, SplitAvg)
	}
}

// The cuts of this version, for ever: other cuts would find nothing old again.
func TestCutsAreFixed(t *testing.T) {
	h := sha256.New()
	for c := range Split(noise(9, 2<<20)) {
		h.Write([]byte{byte(len(c) >> 16), byte(len(c) >> 8), byte(len(c))})
	}
	const want = "2b24c976f082662b"
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != want {
		t.Errorf("cuts %s, want %s", got, want)
	}
	if gear[0] != 0x35b7d670ef729233 || gear[255] != 0xd176cc52bad9bf01 {
		t.Errorf("gear[0], gear[255] = %#x, %#x", gear[0], gear[255])
	}
}

func BenchmarkSplit(b *testing.B) {
	data := noise(1, 4<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for range Split(data) {
		}
	}
}
