package exporter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/staging/pagelog"
)

// compared counts, of a file, the places that are claimed, and those of them that
// are not what the base has.
func (c *catcher) compared(key string) (claimed, differ int) {
	f := c.told[key]
	was, is := c.base.files[key], c.out.files[key]
	place := func(b []byte, n int64) []byte {
		lo := min(n*testGrid, int64(len(b)))
		return b[lo:min(lo+testGrid, int64(len(b)))]
	}
	for _, e := range c.extents {
		if e.File != f.File {
			continue
		}
		if !e.HasBase {
			c.t.Errorf("extent %d is compared with no base", e.Extent)
		}
		for _, p := range e.Pages {
			if p.Claimed&^(p.Data|p.Zero) != 0 {
				c.t.Errorf("page %d: places %b are claimed and were not read", p.No, p.Claimed&^(p.Data|p.Zero))
			}
			for i := range int64(64) {
				if n := int64(p.No)*64 + i; p.Claimed&(1<<i) != 0 {
					claimed++
					if !bytes.Equal(place(was, n), place(is, n)) {
						differ++
					}
				}
			}
		}
	}
	return claimed, differ
}

// sparse writes a file whose zeros are holes, as a thin disk's.
func (w *world) sparse(key string, b []byte) {
	f, err := os.Create(w.path(key))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(b))); err != nil {
		w.t.Fatal(err)
	}
	for at := 0; at < len(b); at += testGrid {
		if part := b[at:min(at+testGrid, len(b))]; !cut.Zero(part) {
			if _, err := f.WriteAt(part, int64(at)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// Goal: a checked backup reads everything, so that its bytes are right whatever
// change tracking says, and it claims for each place what the tracking said: of
// an honest one none differs, of a liar exactly those whose change it hid. Zeros
// that came, or went, too. Method: three pages, on which each case changes some
// places; killed at its cursors, and taken up.
func TestCheckedBackupsClaimWhatTrackingSays(t *testing.T) {
	const page, pages = 64 * testGrid, 3
	for name, c := range map[string]struct {
		change func(b []byte)
		size   int                // afterwards
		lie    func(off int) bool // nil: honest
		want   [2]int             // places claimed, and of them different
	}{
		// The tracking's areas are on no grid: a page that changed touches its neighbours.
		"nothing":          {func([]byte) {}, pages * page, nil, [2]int{192, 0}},
		"honest":           {func(b []byte) { b[5*testGrid+2000]++; clear(b[page:][:page]) }, pages * page, nil, [2]int{192 - 1 - 66, 0}},
		"one is hidden":    {func(b []byte) { b[5*testGrid+2000]++; b[7*testGrid+2000]++ }, pages * page, func(off int) bool { return off/testGrid == 7 }, [2]int{191, 1}},
		"a zero is hidden": {func(b []byte) { clear(b[9*testGrid:][:testGrid]) }, pages * page, always, [2]int{192, 1}},
		"a page of zeros":  {func(b []byte) { clear(b[page:][:page]) }, pages * page, always, [2]int{192, 64}},
		"data from zero":   {func(b []byte) { b[2*page+3*testGrid] = 1 }, pages * page, always, [2]int{192, 1}},
		"grown":            {func(b []byte) { b[0]++ }, pages*page + 9, always, [2]int{192, 1}},
		"shrunk":           {func(b []byte) { b[0]++ }, 70*testGrid + 5, always, [2]int{70, 1}},
	} {
		for kills := range 2 {
			t.Run(fmt.Sprint(name, kills), func(t *testing.T) {
				dir := t.TempDir()
				w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm"), tracked: true}
				os.MkdirAll(w.path(""), 0o700)
				b := make([]byte, pages*page)
				rand.NewChaCha8([32]byte{}).Read(b[:2*page]) // the last page is zero
				w.sparse("a.raw", b)
				first, _ := w.export(nil, 0)
				c.change(b)
				w.sparse("a.raw", b)
				os.Truncate(w.path("a.raw"), int64(c.size))
				w.check, w.lie = "one in 2", c.lie
				_, got := w.export(first, kills) // which compares the bytes
				claimed, differ := got.compared("a.raw")
				if [2]int{claimed, differ} != c.want {
					t.Errorf("claimed are %d places, of which %d differ; want %v", claimed, differ, c.want)
				}
			})
		}
	}
}

// What change tracking names is read even where the source says that nothing is
// allocated: one of the two is wrong, and reading costs little.
func TestNamedPlacesAreReadThoughNotAllocated(t *testing.T) {
	dir := t.TempDir()
	w := &world{t: t, root: filepath.Join(dir, "src"), logs: pagelog.Of(dir, "s", "vm"), tracked: true}
	os.MkdirAll(w.path(""), 0o700)
	b := make([]byte, 2*64*testGrid)
	w.sparse("a.raw", b)
	first, _ := w.export(nil, 0)
	b[70*testGrid] = 1
	w.sparse("a.raw", b)
	w.check, w.blind = "one in 2", true
	w.export(first, 0) // which compares the bytes
}

func always(int) bool { return true }
