package conf

import (
	"cmp"
	"fmt"
)

// Synthetic says which machines a synthetic source makes up. It is for load tests:
// what their disks hold is a function of these settings.
type Synthetic struct {
	// Machines there are, each with one disk. The most is a million.
	Machines int `yaml:"machines"`
	// Size of each disk, default 4GiB, and how much of it is Used, default 1GiB. The
	// rest was never written.
	Size Size `yaml:"size"`
	Used Size `yaml:"used"`
	// Images that the machines are clones of, in turn. Default 6.
	Images int `yaml:"images"`
	// Common is the share, from 0 to 1, of what is used that all clones of an image
	// have.
	Common float64 `yaml:"common"`
	// Change is the share of what is used that each version writes, and Alike the
	// share of those writes that all clones of an image have.
	Change float64 `yaml:"change"`
	Alike  float64 `yaml:"alike"`
	Seed   uint64  `yaml:"seed"`
	// Version of all disks; or the file that holds it, read at each backup, so that it
	// can be moved on. The most is 10000.
	Version     int    `yaml:"version"`
	VersionFile string `yaml:"version_file"`
}

// The most that Synthetic takes: a row of each machine is in memory, and each
// version is looked at for each 256 KiB that is read.
const (
	syntheticMachines = 1_000_000
	syntheticVersions = 10_000
)

func (s *Synthetic) fill() {
	s.Size, s.Used, s.Images = cmp.Or(s.Size, 4<<30), cmp.Or(s.Used, min(1<<30, cmp.Or(s.Size, 4<<30))), cmp.Or(s.Images, 6)
}

func (s *Source) checkSynthetic(at string, say sayer) {
	s.foreign(at, say, map[string]string{"path": s.Path, "pre": s.Pre, "post": s.Post, "url": s.URL, "user": s.User, "password_file": s.PasswordFile,
		"thumbprint": s.Thumbprint, "ca_file": s.CAFile, "transport": s.Transport})
	if s.CheckOneIn != nil && (*s.CheckOneIn < 0 || *s.CheckOneIn > 1<<20) {
		say(at+".check_one_in", "%d is not 0 (never), nor one in so many up to %d", *s.CheckOneIn, 1<<20)
	}
	y, at := s.Synthetic, at+".synthetic"
	if y == nil {
		say(at, "is missing: which machines to make up")
		return
	}
	if y.Machines < 1 || y.Machines > syntheticMachines {
		say(at+".machines", "%d is not from 1 to %d", y.Machines, syntheticMachines)
	}
	if y.Size < 1 {
		say(at+".size", "%v is no size of a disk", y.Size)
	}
	if y.Used < 0 || y.Used > y.Size {
		say(at+".used", "%v is not from 0 to the disk's size, %v", y.Used, y.Size)
	}
	if y.Images < 1 {
		say(at+".images", "%d is less than one", y.Images)
	}
	for _, k := range []struct {
		key   string
		share float64
	}{{"common", y.Common}, {"change", y.Change}, {"alike", y.Alike}} {
		if !(k.share >= 0 && k.share <= 1) {
			say(at+"."+k.key, "%v is no share: from 0 to 1", k.share)
		}
	}
	if y.Version < 0 || y.Version > syntheticVersions {
		say(at+".version", "%d is not from 0 to %d", y.Version, syntheticVersions)
	} else if y.Version > 0 && y.VersionFile != "" {
		say(at+".version", "stands beside a version_file: one of the two says it")
	}
}

// Notes are what a person should know of a configuration that is right.
func (c *Config) Notes() (all Findings) {
	for i, s := range c.Sources {
		if s.Kind == "synthetic" {
			all = append(all, c.Find(fmt.Sprintf("sources[%d].kind", i), "a synthetic source is a tool for load tests: its machines are made up, and backups of them are worth nothing"))
		}
	}
	return all
}
