package conf

import (
	"strings"
	"testing"
)

// What a file says of regions is one thing, or it is told what contradicts it.
func TestRegions(t *testing.T) {
	for name, c := range map[string]struct{ text, home, serves, not, bad string }{
		"none said":        {"", "local", "local", "eu-1", ""},
		"one region":       {"region: eu-1", "eu-1", "eu-1", "us-1", ""},
		"coordinator":      {"regions: [eu-1, us-1]", "eu-1", "us-1", "us-2", ""},
		"globs":            {"regions: [eu-1, 'us-*']", "eu-1", "us-2", "eu-2", ""},
		"all":              {"regions: [eu-1, '*']", "eu-1", "whatever", "", ""},
		"beside a region":  {"region: us-1\nregions: [eu-1, us-1]", "eu-1", "us-1", "ap", ""},
		"in a glob":        {"region: us-1\nregions: [eu-1, 'us-*']\nrestore: {roots: [/srv]}", "eu-1", "us-1", "ap", ""},
		"homeless":         {"regions: ['*']", "", "", "", `regions[0]: "*" is no name: the first is where the coordinator is at home`},
		"a bad glob":       {"regions: [eu-1, 'us-[']", "", "", "", `regions[1]: "us-[" is no name or glob`},
		"a dot":            {"regions: [eu-1, us.1]", "", "", "", `regions[1]: "us.1" is no name or glob`},
		"twice":            {"regions: [eu-1, us-1, us-1]", "", "", "", `regions[2]: "us-1" is there twice`},
		"another region":   {"region: ap\nregions: [eu-1, us-1]", "", "", "", `region: "ap" is none of the regions that this file serves: ["eu-1" "us-1"]`},
		"whose restores":   {"regions: [eu-1]\nrestore: {roots: [/srv]}", "", "", "", "restore.roots: is one region's, and this file serves several"},
		"whose staging":    {"regions: [eu-1]\nstaging: [{share: s}]", "", "", "", "staging: is one region's, and this file serves several"},
		"an empty region":  {"region: ''\nregions: [eu-1]", "eu-1", "eu-1", "us-1", ""},
		"a region's dot":   {"region: a.b", "", "", "", `region: "a.b" is no name`},
		"its vault's name": {"regions: [eu-1]\nvault: {name: v}", "eu-1", "eu-1", "us-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("f.yaml", []byte(c.text+"\n"))
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("found %v, want … %s", err, c.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Home() != c.home || !got.Serves(c.serves) || c.not != "" && got.Serves(c.not) {
				t.Errorf("at home in %s, serves %s: %v, and %s: %v", got.Home(), c.serves, got.Serves(c.serves), c.not, got.Serves(c.not))
			}
		})
	}
}
