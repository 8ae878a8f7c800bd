package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
)

// inventory is the whole of machines.found in every region that is served: what names
// and selectors mean now.
type inventory struct {
	regions map[string]*region
}

func newInventory() *inventory { return &inventory{regions: map[string]*region{}} }

// region returns what is known of one, from now on.
func (v *inventory) region(name string, now time.Time) *region {
	g := v.regions[name]
	if g == nil {
		g = newRegion(name, now)
		v.regions[name] = g
	}
	return g
}

// named is a machine and the region that it is in.
type named struct {
	region  string
	machine *schemas.Machine
}

// sorted are the regions that may be meant: one, or empty for all.
func (v *inventory) sorted(only string) (all []*region) {
	for _, name := range slices.Sorted(maps.Keys(v.regions)) {
		if only == "" || only == name {
			all = append(all, v.regions[name])
		}
	}
	return all
}

// named returns the machines that a name may mean in some regions. source/id comes
// first: it is the one way of saying that can always be made exact.
func (v *inventory) named(name string, in []*region) (found []named) {
	for _, by := range []func(*region) []*schemas.Machine{
		func(g *region) []*schemas.Machine {
			if m := g.exact(name); m != nil {
				return []*schemas.Machine{m}
			}
			return nil
		},
		func(g *region) []*schemas.Machine { return g.byName[name] },
		func(g *region) []*schemas.Machine { return g.byID[name] },
	} {
		for _, g := range in {
			for _, m := range by(g) {
				found = append(found, named{g.name, m})
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// owners are the regions that have listed a source, or tried to. There should be one:
// a machine is known by its source and id, and so are its backups.
func (v *inventory) owners(source string) (all []string) {
	for _, g := range v.sorted("") {
		if _, has := g.listed[source]; has {
			all = append(all, g.name)
		}
	}
	return all
}

// awaits reports whether machines may still come that a request of a time means. A
// region is waited for from when we met it, or a source of it, and never again: who
// stands behind the request would pay for a region that does not begin. Only where
// nothing at all is listed does a request wait from when it came, because then there is
// nobody to pay.
func (v *inventory) awaits(since, opened, now time.Time, listing time.Duration) bool {
	if opened.After(since) {
		since = opened
	}
	nothing, awaited := true, false
	for _, g := range v.regions {
		nothing = nothing && !slices.Contains(slices.Collect(maps.Values(g.listed)), true)
		awaited = awaited || g.lacks() != "" && now.Before(g.since.Add(listing))
	}
	return awaited || nothing && now.Before(since.Add(listing))
}

// near returns up to three names that name may have meant.
func near(name string, in []*region) []string {
	all := map[string]bool{}
	for _, g := range in {
		for n := range g.byName {
			all[n] = true
		}
	}
	names := slices.Sorted(maps.Keys(all))
	var near []string
	for len(near) < 3 {
		n := schemas.Nearest(name, names)
		if n == "" {
			break
		}
		near = append(near, n)
		names = slices.DeleteFunc(names, func(s string) bool { return s == n })
	}
	return near
}

// size counts machines and sources.
func size(in []*region) (machines, sources int) {
	for _, g := range in {
		machines += len(g.machines)
		sources += len(g.listed)
	}
	return machines, sources
}
