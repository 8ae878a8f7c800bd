package conf

import (
	"path"
	"regexp"
	"slices"
	"strconv"
)

// Home is the region where a coordinator is at home; else the region.
func (c *Config) Home() string {
	if len(c.Regions) > 0 {
		return c.Regions[0]
	}
	return c.Region
}

// Serves reports whether a region is one of those that the file names.
func (c *Config) Serves(region string) bool {
	if len(c.Regions) == 0 {
		return region == c.Region
	}
	return slices.ContainsFunc(c.Regions, func(glob string) bool {
		ok, err := path.Match(glob, region)
		return ok && err == nil
	})
}

// Named are the regions that the file says by name, sorted; more may be served.
func (c *Config) Named() []string {
	named := []string{c.Region}
	if len(c.Regions) > 0 {
		named = slices.DeleteFunc(slices.Clone(c.Regions), func(s string) bool { return !nameRule.MatchString(s) })
	}
	slices.Sort(named)
	return named
}

// globRule is nameRule with what a glob has beside.
var globRule = regexp.MustCompile(`^[A-Za-z0-9_*?\[][A-Za-z0-9_*?\[\]^-]{0,62}$`)

func (c *Config) checkRegions(say sayer) {
	if len(c.Regions) == 0 {
		return
	}
	for i, r := range c.Regions {
		at := "regions[" + strconv.Itoa(i) + "]"
		_, bad := path.Match(r, "")
		switch {
		case i == 0 && !nameRule.MatchString(r):
			say(at, "%q is no name: the first is where the coordinator is at home", r)
		case !globRule.MatchString(r) || bad != nil:
			say(at, "%q is no name or glob: letters, digits, - and _, and * ? [a-z]; at most 63", r)
		case slices.Index(c.Regions, r) < i:
			say(at, "%q is there twice", r)
		}
	}
	if c.Region != "" {
		if !c.Serves(c.Region) {
			say("region", "%q is none of the regions that this file serves: %q", c.Region, c.Regions)
		}
		return
	}
	for _, s := range []struct {
		key   string
		there bool
	}{{"staging", len(c.Staging) > 0}, {"sources", len(c.Sources) > 0}, {"vault.targets", len(c.Vault.Targets) > 0}, {"restore.roots", len(c.Restore.Roots) > 0}} {
		if s.there {
			say(s.key, "is one region's, and this file serves several: say which one's, as region")
		}
	}
}
