package cut

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
)

// Sizes of content-defined chunks. A stream's extent of 4 MiB gives 64 chunks on
// average; the bounds are those of the FastCDC paper (average/4, average*4).
const (
	SplitMin = 16 << 10
	SplitAvg = 64 << 10
	SplitMax = 256 << 10
)

// gearSeed is what the gear table is made from: entry b is the first 8 bytes,
// big-endian, of SHA-256(gearSeed, b). It is part of the format of names in so far
// as another table cuts elsewhere, and then nothing old is found again.
const gearSeed = "holdfast fastcdc gear v1"

var gear = func() (t [256]uint64) {
	for i := range t {
		sum := sha256.Sum256(append([]byte(gearSeed), byte(i)))
		t[i] = binary.BigEndian.Uint64(sum[:8])
	}
	return t
}()

// Normalised chunking, level 2: before the average a cut needs 16+2 zero bits,
// after it 16-2, which draws the sizes towards the average. The highest bits of
// the hash depend on the last 64 bytes, the lowest on the last one alone.
const (
	strict = uint64(1<<18-1) << (64 - 18)
	loose  = uint64(1<<14-1) << (64 - 14)
)

// Split cuts data by its content: chunks of SplitMin to SplitMax bytes, of which
// only the last may be shorter. The chunks are parts of data, in order and without
// gap. Cuts depend on nothing before data, so the caller decides what one call sees.
func Split(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := next(data)
			if !yield(data[:n:n]) {
				return
			}
			data = data[n:]
		}
	}
}

// next is the length of the first chunk of data.
func next(data []byte) int {
	if len(data) <= SplitMin {
		return len(data)
	}
	data = data[:min(len(data), SplitMax)]
	var h uint64
	i := SplitMin
	for normal := min(len(data), SplitAvg); i < normal; i++ {
		if h = h<<1 + gear[data[i]]; h&strict == 0 {
			return i + 1
		}
	}
	for ; i < len(data); i++ {
		if h = h<<1 + gear[data[i]]; h&loose == 0 {
			return i + 1
		}
	}
	return len(data)
}
