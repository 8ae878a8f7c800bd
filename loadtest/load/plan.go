package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source/synthetic"
)

// sourceName is the source of all machines.
const sourceName = "load"

// synthetic is the source as this program computes it.
func (o options) synthetic() synthetic.Options {
	return synthetic.Options{Machines: o.machines, Size: int64(o.size), Used: int64(o.used), Images: o.images,
		Common: o.common, Change: o.change, Alike: o.alike, Seed: o.seed}
}

func (o options) data() string { return filepath.Join(o.work, "data") }

// versionFile holds which version of the disks there is.
func (o options) versionFile() string { return filepath.Join(o.work, "disks") }

// turn moves the machines to a version.
func (o options) turn(version int) error {
	tmp := o.versionFile() + ".new"
	if err := os.WriteFile(tmp, fmt.Appendln(nil, version), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, o.versionFile())
}

// config is the house's configuration; more stands before it, the source behind.
func (o options) config(more, source string) string {
	staging := o.staging
	if staging == "" {
		staging = "staging"
	}
	var b strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	say("region: local\ndata: .\n%s", more)
	say("staging: [{share: %q, size: %v, window: %v}]", staging, o.window*conf.Size(o.slots), o.window)
	say("vault:\n  shards: {k: %d, m: %d}\n  targets:", o.k, o.m)
	for i := range o.k + o.m {
		say("    - {name: t%d, kind: file, path: vault/t%d}", i+1, i+1)
	}
	say("keys: {dir: keys, passphrase_file: keys/passphrase}")
	say("sources:\n%s", source)
	return b.String()
}

// made is the section of the synthetic source.
func (o options) made() string {
	return fmt.Sprintf("  - name: %s\n    kind: synthetic\n    limits: {snapshots: %d}\n    synthetic: {machines: %d, size: %v, used: %v, images: %d, common: %v, change: %v, alike: %v, seed: %d, version_file: %q}",
		sourceName, o.slots, o.machines, o.size, o.used, o.images, o.common, o.change, o.alike, o.seed, o.versionFile())
}

// configure writes it where the house looks for it, and checks it.
func (o options) configure(more, source string) (*conf.Config, error) {
	if err := os.MkdirAll(o.data(), 0o755); err != nil {
		return nil, err
	}
	path := o.configFile()
	if err := os.WriteFile(path, []byte(o.config(more, source)), 0o600); err != nil {
		return nil, err
	}
	return conf.Load(path)
}

func (o options) configFile() string { return filepath.Join(o.data(), "holdfast.yaml") }
