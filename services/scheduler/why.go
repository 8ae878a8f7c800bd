package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

const listedMax = 8 // names that a reason repeats

func whyUnknown(name string, in []*region, seek bool) string {
	why := fmt.Sprintf("%q is no machine", name)
	if seek {
		if near := near(name, in); len(near) > 0 {
			for i, n := range near {
				near[i] = fmt.Sprintf("%q", n)
			}
			why += "; near: " + strings.Join(near, ", ")
		}
	}
	if lacking := lacking(in); lacking != "" {
		why += "; " + lacking
	}
	return why
}

// lacking says what was never listed, and might have the machine.
func lacking(in []*region) string {
	var all []string
	for _, g := range in {
		if why := g.lacks(); why != "" {
			all = append(all, why)
		}
	}
	return strings.Join(all[:min(len(all), listedMax)], "; ")
}

func (v *inventory) whyAmbiguous(name string, ms []named) string {
	paths := make([]string, 0, listedMax)
	for _, m := range ms[:min(len(ms), listedMax)] {
		path := fmt.Sprintf("%q", schemas.MachineRefOf(m.machine).Path())
		if folder := v.regions[m.region].machines[machineKey(m.machine)].GetFolder(); folder != "" {
			path += fmt.Sprintf(" in folder %q", folder)
		}
		if len(v.regions) > 1 {
			path += " of region " + m.region
		}
		paths = append(paths, path)
	}
	if source := ms[0].machine.GetSource(); len(v.owners(source)) > 1 {
		return fmt.Sprintf("%q means %d machines: %s; %s", name, len(ms), strings.Join(paths, ", "), v.whyContested(source))
	}
	return fmt.Sprintf("%q means %d machines: %s; say which, as source/id", name, len(ms), strings.Join(paths, ", "))
}

// whyContested says what is wrong with a source of that name.
func (v *inventory) whyContested(source string) string {
	return fmt.Sprintf("regions %s each have a source %s: name the region, or call the sources otherwise", strings.Join(v.owners(source), " and "), source)
}

// whyNothing says why a job has no machine at all.
func (r resolved) whyNothing(v *inventory, region string) string {
	machines, sources := size(r.in)
	switch {
	case region != "" && v.regions[region] == nil:
		return fmt.Sprintf("region %q is not served here; there are: %s", region, strings.Join(slices.Sorted(maps.Keys(v.regions)), ", "))
	case len(r.unknown) == 0 && len(r.others) > 0:
		return fmt.Sprintf("none of these machines is of region %s: %s", region, r.whose())
	case len(r.unknown) == 0:
		var words []string
		for _, s := range r.asked[:min(len(r.asked), listedMax)] {
			words = append(words, s.String())
		}
		why := fmt.Sprintf("no machine matches %s: %d are known, of %d sources", strings.Join(words, ", "), machines, sources)
		if lacking := lacking(r.in); lacking != "" {
			why += "; " + lacking
		}
		return why
	}
	var whys []string
	for _, u := range r.unknown[:min(len(r.unknown), listedMax)] {
		whys = append(whys, u.why)
	}
	if more := len(r.unknown) - len(whys); more > 0 {
		whys = append(whys, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(whys, "; ")
}

// whose says how many names other regions have.
func (r resolved) whose() string {
	var all []string
	for _, region := range slices.Sorted(maps.Keys(r.others)) {
		all = append(all, fmt.Sprintf("%s has %d", region, r.others[region]))
	}
	return strings.Join(all, ", ")
}
