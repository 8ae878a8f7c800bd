package vsphere

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Goal: every named byte is in one stretch, stretches ascend, none is too long or
// behind the disk, and what they read beside the named places is a 20th at most.
func TestStretches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int64{1, 512, 64<<10 + 512, 10 << 20, 300 << 20}).Draw(t, "size")
		var named []source.Range
		places := map[int64]bool{}
		for at := int64(0); at < size && len(named) < 200; {
			at += rapid.SampledFrom([]int64{0, 1, 512, 60 << 10, 64 << 10, 100 << 10, 300 << 10, 5 << 20}).Draw(t, "gap")
			n := min(rapid.SampledFrom([]int64{1, 512, 64 << 10, 65 << 10, 3 << 20, 70 << 20}).Draw(t, "len"), size-at)
			if n <= 0 {
				break
			}
			named = append(named, source.Range{Off: at, Len: n})
			for p := at / stretchGrain; p <= (at+n-1)/stretchGrain; p++ {
				places[p] = true
			}
			at += n
		}
		last, read := int64(0), int64(0)
		var all []source.Range
		for s, err := range stretches(each(named), size) {
			if err != nil || s.Off < last || s.Len <= 0 || s.Len > stretchMax || s.Off+s.Len > size {
				t.Fatalf("stretch %+v after %d: %v", s, last, err)
			}
			last = s.Off + s.Len
			read += s.Len
			all = append(all, s)
		}
		for p := range places {
			from, to := p*stretchGrain, min((p+1)*stretchGrain, size)
			if !slices.ContainsFunc(all, func(s source.Range) bool { return s.Off <= from && from < s.Off+s.Len }) ||
				!slices.ContainsFunc(all, func(s source.Range) bool { return s.Off < to && to <= s.Off+s.Len }) {
				t.Fatalf("place [%d, %d) is in no stretch", from, to)
			}
		}
		if most := int64(len(places)) * stretchGrain; read > most+most/gapShare {
			t.Fatalf("%d bytes are read, %d were named", read, most)
		}
	})
}
