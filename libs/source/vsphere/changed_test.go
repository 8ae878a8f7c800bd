package vsphere

import (
	"strings"
	"testing"
)

func TestComparable(t *testing.T) {
	x := &disk{change: "52 aa-bb/17", size: 1 << 30}
	for since, want := range map[string]string{
		x.changeID():              "",
		"52 aa-bb/3@1073741824":   "",
		"52 aa-bb/18@1073741824":  "went back behind its last backup",
		"53 aa-bb/3@1073741824":   "was reset, or the base is another disk's",
		"52 aa-bb/3@1073741312":   "resized from 1073741312 to 1073741824",
		"52 aa-bb/3":              "none of a vCenter's",
		"52 aa-bb/3@":             "none of a vCenter's",
		"52 aa-bb@1073741824":     "none of a vCenter's",
		"52 aa-bb/x@1073741824":   "none of a vCenter's",
		"/3@1073741824":           "none of a vCenter's",
		"*@1073741824":            "none of a vCenter's",
		strings.Repeat("x", 5000): "none of a vCenter's",
	} {
		id, why := x.comparable(since)
		if want == "" && (why != "" || id+"@1073741824" != since) || !strings.Contains(why, want) {
			t.Errorf("%.40q: %q, %q, want %q", since, id, why, want)
		}
	}
	if _, why := (&disk{size: 1 << 30}).comparable(x.changeID()); why != "change tracking is off" {
		t.Errorf("a disk that is not tracked: %q", why)
	}
	if id := (&disk{size: 1}).changeID(); id != "" {
		t.Errorf("a disk that is not tracked has change id %q", id)
	}
}
