package vmdk

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever comes, the reader ends: with a sound disk, damage, or a cut. What it
// took for whole is written again and read as the same.
func FuzzReader(f *testing.F) {
	text := contents["text"](GrainSize)
	f.Add(lying(0).foot(0).Bytes())
	f.Add(lying(1024).grain(0, text).mark(markTable, 0).grain(256, text).foot(1024).Bytes())
	f.Add(lying(128+5).grain(128, text[:5*sector]).foot(128 + 5).Bytes())
	f.Add(lying(1024).grain(0, noise(1, 100)).foot(1024).Bytes())
	f.Add(lying(128).packed(0, 8, deflated(text)[:8]).foot(128).Bytes())
	f.Add(lying(64, func(h *header) { h.grain, h.directory, h.firstData = 8, 1, 6 }).foot(64).Bytes())
	f.Add(child().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		disk, _, err := decode(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return
		}
		if len(disk) == 0 || len(disk) > 1<<20 {
			return // more than is worth a second look
		}
		again, _, err := decode(bytes.NewReader(encode(t, disk)))
		if err != nil || !bytes.Equal(again, disk) {
			t.Fatalf("written again, it differs: %v", err)
		}
	})
}
