package chunker

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/schemas"
)

// check says what is false about an extent. What it passes can be cut.
func check(e *schemas.ExtentExported) error {
	run := e.GetRun()
	switch {
	case len(run.GetBackup()) != 16 || len(run.GetLease()) != 16:
		return fmt.Errorf("run: backup of %d and lease of %d bytes, want 16", len(run.GetBackup()), len(run.GetLease()))
	case e.LengthBytes > cut.ExtentBytes:
		return fmt.Errorf("blob of %d bytes, want %d at most", e.LengthBytes, cut.ExtentBytes)
	case e.LengthBytes > 0 && !strings.Contains(e.Blob, "/"):
		return fmt.Errorf("blob %q: want lease/name", e.Blob)
	case e.GridBytes == 0 && (len(e.Pages) != 1 || e.LengthBytes == 0):
		return fmt.Errorf("extent of a stream: %d pages and %d bytes, want one page and some bytes", len(e.Pages), e.LengthBytes)
	case e.GridBytes == 0:
		return digested(e, (e.LengthBytes+cut.GridDefault-1)/cut.GridDefault)
	}
	if err := cut.CheckGrid(e.GridBytes); err != nil {
		return err
	}
	var sum uint64
	var blocks uint32
	for i, p := range e.Pages {
		if i > 0 && p.No <= e.Pages[i-1].No {
			return fmt.Errorf("page %d after page %d", p.No, e.Pages[i-1].No)
		}
		if p.Data&p.Zero != 0 {
			return fmt.Errorf("page %d: places %b are both data and zero", p.No, p.Data&p.Zero)
		}
		if more := p.Claimed &^ (p.Data | p.Zero); more != 0 {
			return fmt.Errorf("page %d: places %b are claimed unchanged, and were not read", p.No, more)
		}
		for data := p.Data; data != 0; data &= data - 1 {
			n := lengthAt(e, place(p.No, bits.TrailingZeros64(data)))
			if n == 0 {
				return fmt.Errorf("page %d: data beyond the file's end at %d", p.No, e.FileBytes)
			}
			sum += n
			blocks++
		}
	}
	if sum != uint64(e.LengthBytes) {
		return fmt.Errorf("blob of %d bytes, its places take %d", e.LengthBytes, sum)
	}
	return digested(e, blocks)
}

func digested(e *schemas.ExtentExported, blocks uint32) error {
	if uint64(len(e.Digests)) != cut.DigestBytes*uint64(blocks) {
		return fmt.Errorf("%d bytes of digests for %d blocks of 32", len(e.Digests), blocks)
	}
	return nil
}

func place(page uint32, bit int) uint64 { return uint64(page)*cut.PagePlaces + uint64(bit) }

// lengthAt is how many bytes of the file lie in a place of the grid.
func lengthAt(e *schemas.ExtentExported, place uint64) uint64 {
	from := place * uint64(e.GridBytes)
	if from >= e.FileBytes {
		return 0
	}
	return min(uint64(e.GridBytes), e.FileBytes-from)
}
