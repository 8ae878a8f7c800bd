package mutant

import (
	"slices"
	"strings"
	"testing"
)

const list = `# a remark
mutant: commit past a hold
why: it is lost
law: 3, D8
file: libs/x/x.go
test: libs/x TestA|TestB
env: SEEDS=5 MORE=1
 	one
-	two
+	zwei
+	drei
@@
-	four

mutant: another
why: because
law: 13
file: y.go
test: y TestC
-old
+new
`

func TestParseAndPatch(t *testing.T) {
	all, err := Parse(strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Name != "commit past a hold" || all[0].Package != "libs/x" || all[0].Test != "TestA|TestB" ||
		!slices.Equal(all[0].Laws, []string{"3", "D8"}) || !slices.Equal(all[0].Env, []string{"SEEDS=5", "MORE=1"}) || all[1].Line != 15 {
		t.Errorf("got %+v", all)
	}
	got, err := all[0].Patch("\tone\n\ttwo\n\tthree\n\tfour\n")
	if want := "\tone\n\tzwei\n\tdrei\n\tthree\n"; got != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, src := range []string{"\tone\n\ttwo\n", "\tone\n\ttwo\n\tone\n\ttwo\n\tfour\n", "x\tone\n\ttwo\n\tfour\n"} {
		if got, err := all[0].Patch(src); err == nil {
			t.Errorf("%q became %q, though what changes does not stand there once", src, got)
		}
	}
}

func TestBadListsAreTold(t *testing.T) {
	for _, c := range []struct{ was, is, says string }{
		{"law: 3, D8", "law: three", `line 4: law "three"`},
		{"why: it is lost\n", "", `line 2: mutant "commit past a hold" wants`},
		{"test: libs/x TestA|TestB", "test: libs/x -v", "want a package and TestName"},
		{"-\tfour\n", "", "changes nothing in place 2"},
		{"# a remark", "why: x", "before the first"},
		{"env:", "evn:", "no evn"},
		{"@@", "@@ -1,2", "parts nothing"},
		{"# a remark", strings.Repeat("x", maxLine+1), "line 1: "},
	} {
		if _, err := Parse(strings.NewReader(strings.Replace(list, c.was, c.is, 1))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q for %q: got %v, want %q", c.is, c.was, err, c.says)
		}
	}
}

// What parses is whole, and its patch changes what it is applied to.
func FuzzParse(f *testing.F) {
	f.Add(list)
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, m := range all {
			src := m.hunks[0].was.String()
			if got, err := m.Patch(src); len(m.hunks) == 1 && (err != nil || got == src) {
				t.Errorf("%+v: %q became %q, %v", m, src, got, err)
			}
		}
	})
}
