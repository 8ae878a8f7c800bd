package match

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

func TestSelector(t *testing.T) {
	m := &schemas.MachineFound{Machine: &schemas.Machine{Source: "vc", Id: "vm-1", Name: "db 'ü'/1"}, Folder: "/DC1/vm/prod/web", Host: "esx1.lan",
		Cluster: "blue", Tags: []string{"owner/me", "tier/gold"}}
	for _, c := range []struct {
		s    schemas.Selector
		want bool
	}{
		{schemas.Selector{Name: "db*"}, true},
		{schemas.Selector{Name: "db*", Source: "vc"}, true},
		{schemas.Selector{Name: "db*", Source: "v"}, false},
		{schemas.Selector{Folder: "DC1/vm/prod/web"}, true},
		{schemas.Selector{Folder: "/DC1/vm/prod/"}, true}, // and what lies below
		{schemas.Selector{Folder: "/DC1/vm/pro"}, false},
		{schemas.Selector{Folder: "*/prod"}, true},
		{schemas.Selector{Folder: "prod"}, false},
		{schemas.Selector{Folder: "/"}, false},
		{schemas.Selector{Tag: "tier/*"}, true},
		{schemas.Selector{Tag: "tier/silver"}, false},
		{schemas.Selector{Tag: "gold"}, false},
		{schemas.Selector{Cluster: "bl?e", Host: "esx[12].*"}, true},
		{schemas.Selector{Cluster: "red", Host: "esx1.lan"}, false},
		{schemas.Selector{Host: "ESX1.lan"}, false},
		{schemas.Selector{Name: "*", Folder: "DC1", Tag: "owner/me", Cluster: "blue", Host: "*"}, true},
		{schemas.Selector{Name: "*", Folder: "DC1", Tag: "owner/you", Cluster: "blue", Host: "*"}, false},
	} {
		s, err := Compile(c.s)
		if err != nil {
			t.Errorf("%+v: %v", c.s, err)
		} else if got := s.Matches(m); got != c.want {
			t.Errorf("%+v matches: %v", c.s, got)
		}
	}
	bare := &schemas.MachineFound{Machine: &schemas.Machine{Source: "vc", Name: "x"}}
	for _, s := range []schemas.Selector{{Tag: "*"}, {Folder: "a"}, {Host: "?*"}} {
		if s, _ := Compile(s); s.Matches(bare) {
			t.Errorf("%s matches a machine that has none", s)
		}
	}
	for want, bad := range map[string]schemas.Selector{"is empty": {}, "folder: pattern": {Name: "x", Folder: "["}, "cluster: pattern": {Cluster: "[z-a]"}} {
		if _, err := Compile(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if s, _ := Compile(schemas.Selector{Name: "a", Tag: "b", Source: "c"}); s.String() != `name "a" and tag "b" and source "c"` {
		t.Errorf("it says %s", s)
	}
}

func TestGlob(t *testing.T) {
	for pattern, names := range map[string][2][]string{
		`web-*`:   {{"web-", "web-1/2", "web-\n"}, {"xweb-", "Web-1"}},
		`[a-c]?`:  {{"a1", "cü"}, {"d1", "a"}},
		`[!a]`:    {{"b", "^"}, {"a"}},
		`\*a.b`:   {{"*a.b"}, {"xa.b", "*axb"}},
		`[\]\[x]`: {{`\[x]`}, {"x"}},
	} {
		re, err := Glob(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, n := range names[0] {
			if !re.MatchString(n) {
				t.Errorf("%s does not match %q", pattern, n)
			}
		}
		for _, n := range names[1] {
			if re.MatchString(n) {
				t.Errorf("%s matches %q", pattern, n)
			}
		}
	}
	for _, bad := range []string{"[", "[]", "[!]", `\`, "[b-a]", strings.Repeat("a", 257)} {
		if _, err := Glob(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*[!b-c]?", "axd")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if re, err := Glob(pattern); err == nil {
			re.MatchString(name)
		}
	})
}
