package conf

import (
	"errors"
	"strings"
	"testing"
)

const synthetic = `  - {name: load, kind: synthetic, synthetic: {machines: 1000, size: 2TiB, used: 1GiB, common: 0.9, change: 0.02, version_file: version}}
`

func withSynthetic(old, new string) string {
	const images = "  - {name: kvm, kind: images, path: machines, every: 1d}\n"
	return strings.Replace(good, images, strings.Replace(synthetic, old, new, 1), 1)
}

// What a load tool makes up is bounded as all else is, and a person is told what it is.
func TestSynthetic(t *testing.T) {
	c, err := Load(write(t, withSynthetic("", "")))
	if err != nil {
		t.Fatal(err)
	}
	y := c.Sources[0].Synthetic
	if y.Images != 6 || y.Used != 1<<30 || y.Size != 2<<40 || !strings.HasPrefix(y.VersionFile, "/") {
		t.Errorf("%+v", y)
	}
	notes := c.Notes()
	if len(notes) != 1 || !strings.Contains(notes[0].String(), ":12: sources[0].kind: a synthetic source is a tool for load tests") {
		t.Errorf("notes: %v", notes)
	}
	for _, k := range []struct{ name, old, new, want string }{
		{"no machines", "machines: 1000, ", "", "sources[0].synthetic.machines: 0 is not from 1 to 1000000"},
		{"used", "used: 1GiB", "used: 3TiB", "synthetic.used: 3TiB is not from 0 to the disk's size, 2TiB"},
		{"images", "common", "images: -1, common", "synthetic.images: -1 is less than one"},
		{"common", "0.9", "90", "synthetic.common: 90 is no share"},
		{"change", "0.02", "-0.02", "synthetic.change: -0.02 is no share"},
		{"alike", "common: 0.9", "alike: .nan", "synthetic.alike: NaN is no share"},
		{"version", "version_file: version", "version: 10001", "synthetic.version: 10001 is not from 0 to 10000"},
		{"two versions", "version_file", "version: 1, version_file", "synthetic.version: stands beside a version_file"},
		{"which machines", ", synthetic: {machines: 1000, size: 2TiB, used: 1GiB, common: 0.9, change: 0.02, version_file: version}", "", "sources[0].synthetic: is missing"},
		{"of another kind", "kind: synthetic, ", "kind: images, path: machines, ", "sources[0].synthetic: is not of a source of kind images"},
		{"a path", "kind: synthetic, ", "kind: synthetic, path: machines, ", "sources[0].path: is not of a source of kind synthetic"},
	} {
		t.Run(k.name, func(t *testing.T) {
			_, err := Load(write(t, withSynthetic(k.old, k.new)))
			var bad Findings
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), k.want) {
				t.Errorf("got  %v\nwant %s", err, k.want)
			}
		})
	}
}
