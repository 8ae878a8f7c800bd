package main

import (
	"strings"
	"testing"
)

// Goal: the soak's own judgement is sound: what a guest wrote is its version, and
// any other mixture is not. Method: a guest in memory, and one harm at a time.
func TestGuestKnowsItsVersions(t *testing.T) {
	g := &guest{seed: 7, disks: 2, size: 4 << 20}
	disks := [][]byte{make([]byte, g.size), make([]byte, g.size)}
	const n = 60
	apply := func(w int) {
		p := g.plan(w)
		copy(disks[p.disk][p.at*sector:], g.whole(p))
	}
	for w := 1; w <= n; w++ {
		apply(w)
		if err := g.check(disks, w, w); err != nil {
			t.Fatalf("version %d: %v", w, err)
		}
	}
	for _, c := range []struct {
		name, want string
		lo, hi     int
		harm       func() (undo func())
	}{
		{"older than asked", "must hold one from 61", n + 1, n + 9, nil},
		{"newer than the end", "must hold one from 1 to 59", 1, n - 1, nil},
		{"a write is missing in the middle", "is not what write", 1, n + 9, func() func() {
			old := string(disks[0])
			p := g.plan(1)
			clear(disks[0][p.at*sector : (p.at+p.n)*sector])
			return func() { copy(disks[0], old) }
		}},
		{"one disk is of a later moment", "is not what write", 1, n + 9, func() func() {
			a, b := string(disks[0]), string(disks[1])
			for w, other := n+1, 0; other < 2; w++ { // of two later writes to disk 1 the first to another is left out
				if p := g.plan(w); p.disk == 1 && other > 0 {
					apply(w)
					other = 2
				} else if p.disk == 0 {
					other = 1
				}
			}
			return func() { copy(disks[0], a); copy(disks[1], b) }
		}},
		{"a bit", "is not what write", 1, n + 9, func() func() {
			disks[1][len(disks[1])-1] ^= 1
			return func() { disks[1][len(disks[1])-1] ^= 1 }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.harm != nil {
				defer c.harm()()
			}
			if err := g.check(disks, c.lo, c.hi); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if err := g.check(disks[:1], 1, n); err == nil {
		t.Error("a disk less is a version")
	}
}
