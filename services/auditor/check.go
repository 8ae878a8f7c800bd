package auditor

import (
	"fmt"
	"math"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/schemas"
)

// What these functions pass, the rest of the package can index without asking.

func checkRun(r *schemas.Run) error {
	if len(r.GetBackup()) != 16 || len(r.GetLease()) != 16 {
		return fmt.Errorf("run: backup of %d and lease of %d bytes, want 16 each", len(r.GetBackup()), len(r.GetLease()))
	}
	return nil
}

func checkPlaces(p *schemas.Places) error {
	n := len(p.GetPlaces())
	if len(p.GetIds()) != 32*n || len(p.GetPack()) != n || len(p.GetOffsets()) != n || len(p.GetFramed()) != n ||
		len(p.GetLengths()) != 0 && len(p.GetLengths()) != n {
		return fmt.Errorf("columns of %d places: %d bytes of ids, %d packs, %d offsets, %d framed, %d lengths",
			n, len(p.GetIds()), len(p.GetPack()), len(p.GetOffsets()), len(p.GetFramed()), len(p.GetLengths()))
	}
	for i, pack := range p.GetPacks() {
		if len(pack.GetId()) != 16 {
			return fmt.Errorf("pack %d: id of %d bytes, want 16", i, len(pack.GetId()))
		}
	}
	for i, at := range p.GetPlaces() {
		switch {
		case at/cut.PagePlaces > math.MaxUint32:
			return fmt.Errorf("place %d is beyond any file", at)
		case int(p.Pack[i]) >= len(p.Packs):
			return fmt.Errorf("place %d: pack %d of %d", at, p.Pack[i], len(p.Packs))
		case p.Framed[i] < seal.Overhead || p.Framed[i] > seal.FramedMax:
			return fmt.Errorf("place %d: frame of %d bytes", at, p.Framed[i])
		case len(p.Lengths) > 0 && p.Lengths[i] > seal.PlainMax:
			return fmt.Errorf("place %d: %d plain bytes", at, p.Lengths[i])
		}
	}
	return nil
}

func checkCut(c *schemas.ExtentCut) error {
	s := shapeOf(c)
	if len(c.Pages) == 0 {
		return fmt.Errorf("file %d, extent %d: no pages", c.File, c.Extent)
	}
	if s.grid == 0 && (len(c.Pages) != 1 || uint64(c.Pages[0].GetNo()) != c.Extent || c.Pages[0].GetZero() != 0 || c.Pages[0].GetData() == 0) {
		return fmt.Errorf("extent %d of stream %d: want one page of its number, all data", c.Extent, c.File)
	}
	if s.grid != 0 {
		if err := cut.CheckGrid(s.grid); err != nil {
			return fmt.Errorf("file %d: %w", c.File, err)
		}
	}
	for i, p := range c.Pages {
		switch {
		case i > 0 && p.No <= c.Pages[i-1].No:
			return fmt.Errorf("file %d: page %d after page %d", c.File, p.No, c.Pages[i-1].No)
		case len(p.Digest) != 16:
			return fmt.Errorf("file %d, page %d: digest of %d bytes, want 16", c.File, p.No, len(p.Digest))
		case p.Claimed&^(p.Data|p.Zero) != 0 || p.Claimed != 0 && s.grid == 0:
			return fmt.Errorf("file %d, page %d: places %x are claimed unchanged, and were not read", c.File, p.No, p.Claimed&^(p.Data|p.Zero))
		case p.Data&p.Zero != 0:
			return fmt.Errorf("file %d, page %d: places %x are both data and zero", c.File, p.No, p.Data&p.Zero)
		case s.grid != 0 && ((p.Data|p.Zero)&^mask(s.places(p.No)) != 0 || s.places(p.No) == 0):
			return fmt.Errorf("file %d, page %d: places %x beyond the end at %d", c.File, p.No, p.Data|p.Zero, s.size)
		}
	}
	return nil
}

func checkFile(e *schemas.FileExported) error {
	if e.Finished != nil {
		return nil
	}
	if e.GridBytes != 0 {
		if err := cut.CheckGrid(e.GridBytes); err != nil {
			return fmt.Errorf("file %d: %w", e.File, err)
		}
	}
	if e.Part >= max(1, e.Parts) {
		return fmt.Errorf("file %d: part %d of %d", e.File, e.Part, e.Parts)
	}
	for _, r := range e.Runs {
		if r.Count > math.MaxUint32-r.First || r.What == schemas.PageRun_WHAT_UNSPECIFIED {
			return fmt.Errorf("file %d: run of %d pages %s at page %d", e.File, r.Count, r.What, r.First)
		}
	}
	return nil
}
