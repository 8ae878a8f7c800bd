package torntest

import (
	"bytes"
	"testing"
)

// No way leaves the bytes as they were, or a test of what refuses them would fail
// for nothing; and none harms the bytes it was given.
func TestEachWayHarms(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 64, 1000} {
		b := bytes.Repeat([]byte{0xa5}, n)
		ways := map[string]bool{}
		for how, harmed := range Ways(b) {
			if bytes.Equal(harmed, b) || ways[how] {
				t.Errorf("%d bytes, %s: %x", n, how, harmed)
			}
			ways[how] = true
		}
		if !bytes.Equal(b, bytes.Repeat([]byte{0xa5}, n)) {
			t.Errorf("%d bytes were harmed themselves", n)
		}
		if n >= 64 && len(ways) < 13 {
			t.Errorf("%d bytes: only %v of %d", n, ways, 13)
		}
	}
}
