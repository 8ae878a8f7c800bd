package topics

import (
	"regexp"
	"slices"
	"strings"
)

// regionRule is that of the configuration: a name of a region has no dot.
var regionRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$`)

// Regions are those of which every one of these topics is among names, which are
// physical; sorted. A region is born with its topics, all in one request.
func Regions(names []string, of ...Spec) (regions []string) {
	if len(of) == 0 {
		return nil
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	for _, name := range names {
		region, ok := strings.CutSuffix(name, "."+of[0].Name)
		if !ok || !regionRule.MatchString(region) {
			continue
		}
		if !slices.ContainsFunc(of, func(s Spec) bool { return !there[s.In(region)] }) {
			regions = append(regions, region)
		}
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}
