package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A list is what people keep in any editor.
func TestListsOfMachines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "machines.txt")
	put(t, file, "\ufeff# all of the shop\r\nvc-a/vm-1\r\n\r\n  web 01  # the first\r\nweb#2\r\nvc-a/vm-1\r\n\tdb-07")
	names, err := readList(file)
	if want := []string{"vc-a/vm-1", "web 01", "web#2", "db-07"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q, %v, want %q", names, err, want)
	}
	put(t, file, "# none\r\n\r\n")
	if _, err := readList(file); err == nil || !strings.Contains(err.Error(), "names no machine") {
		t.Errorf("got %v", err)
	}
	long := strings.Repeat("x", 100_000)
	put(t, file, long)
	if names, err := readList(file); err != nil || names[0] != long {
		t.Errorf("a long line: %v", err)
	}
}

// Policies are written as YAML, several in a file; what is wrong is told by file,
// policy and path, before anything is opened.
func TestPolicyFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "list.txt"), "web-01\nweb-02\n")
	const gold = "name: gold\nselectors: [{tag: tier/gold}]\ncalendar:\n  - cron: 0 2 * * *\nzone: Europe/Berlin\nblackout: [{from: 08:00, to: 18:00}]\n"
	a := &app{}
	file := filepath.Join(dir, "p.yaml")
	put(t, file, "# of the shop\n---\n"+gold+"---\nname: fast\nmachines: [db-07]\nmachinesFrom: list.txt\nrpoMinutes: 240\nspreadMinutes: 0\n")
	all, err := a.readPolicies(file)
	if err != nil || len(all) != 2 || all[0].Calendar[0].Cron != "0 2 * * *" || all[0].Blackout[0].From != "08:00" ||
		!slices.Equal(all[1].Machines, []string{"db-07", "web-01", "web-02"}) || *all[1].SpreadMinutes != 0 {
		t.Fatalf("got %+v, %v", all, err)
	}
	for text, want := range map[string]string{
		"":                                "p.yaml: has no policy",
		"- a\n":                           "p.yaml: document 1: ",
		gold + "priorty: 3\n":             `p.yaml: policy 1: priorty: is no field: did you mean "priority"?`,
		gold + "---\n" + gold:             `p.yaml: policy 2: name: "gold" is there twice`,
		gold + "rpoMinutes: 5\n":          "p.yaml: policy 1: has both calendar and rpoMinutes",
		gold + "machinesFrom: none.txt\n": "p.yaml: policy 1: machinesFrom: read list: open ",
		gold + "machinesFrom: [a]\n":      "p.yaml: policy 1: machinesFrom: want the path of a file",
		"name: gold\ndropped: true\n":     "p.yaml: policy 1: dropped: a file says what a policy is",
		gold + "name: silver\n":           "p.yaml: document 1: ",
	} {
		put(t, file, text)
		_, errs, code := command("policies", "apply", "-f", file, "--data", dir)
		if code != exitRefused || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d, %s; want … %s …", text, code, errs, want)
		}
	}
}
