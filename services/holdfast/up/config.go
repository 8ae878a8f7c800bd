package up

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/seal"
)

// Default is 4+2: any two of six folders may be lost.
const (
	defaultK = 4
	defaultM = 2
)

// Configure reads <data>/holdfast.yaml, or writes it from the options. Once it is
// there it is the operator's: options that contradict it are refused, not merged.
func Configure(o Options) (*conf.Config, error) {
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(o.Data, "holdfast.yaml")
	_, err := os.Stat(path)
	switch {
	case err == nil:
		if len(o.Images)+len(o.Targets) > 0 || o.Compression != "" || o.VCenter != (VCenter{}) {
			if err := same(path, o); err != nil {
				return nil, err
			}
		}
	case errors.Is(err, os.ErrNotExist):
		text, err := skeleton(o)
		if err != nil {
			return nil, err
		}
		if _, err := conf.Parse(path, []byte(text)); err != nil {
			return nil, err
		}
		if err := writeNew(path, []byte(text)); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
	default:
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return conf.Load(path)
}

// same refuses options that say another thing than the file does.
func same(path string, o Options) error {
	c, err := conf.Load(path)
	if err != nil {
		return err
	}
	var sources, targets []string
	vcenter := VCenter{}
	for _, s := range c.Sources {
		switch {
		case s.Kind == "images":
			sources = append(sources, s.Path)
		case s.Kind == "vsphere" && (vcenter == VCenter{} || s.URL == o.VCenter.URL):
			vcenter = VCenter{s.URL, s.User, s.PasswordFile, s.Thumbprint}
		}
	}
	for _, t := range c.Vault.Targets {
		targets = append(targets, t.Where())
	}
	for _, x := range []struct {
		flag      string
		got, want []string
	}{{"--images", o.Images, sources}, {"--target", o.Targets, targets}} {
		if len(x.got) > 0 && strings.Join(absolute(x.got), "\n") != strings.Join(x.want, "\n") {
			return fmt.Errorf("%s is %v, and %s says %v: edit the file, or leave the option away", x.flag, x.got, path, x.want)
		}
	}
	if o.Compression != "" && o.Compression != c.Vault.Compression {
		return fmt.Errorf("--compression is %s, and %s says %s, which was fixed when the vault was made: leave the option away", o.Compression, path, c.Vault.Compression)
	}
	if v := o.VCenter.absolute(); v != (VCenter{}) && v != vcenter {
		return fmt.Errorf("--vcenter is %+v, and %s says %+v: edit the file, or leave the options away", v, path, vcenter)
	}
	return nil
}

func (v VCenter) absolute() VCenter {
	if v.PasswordFile != "" {
		v.PasswordFile = absolute([]string{v.PasswordFile})[0]
	}
	return v
}

func absolute(paths []string) (abs []string) {
	for _, p := range paths {
		if a, err := filepath.Abs(p); err == nil {
			p = a
		}
		abs = append(abs, p)
	}
	return abs
}

// shards chooses k+m for n targets where nobody said: one in three may be lost.
func shards(n int) (k, m int) {
	m = n / 3
	return n - m, m
}

// skeleton is the first configuration of a data folder, commented.
func skeleton(o Options) (string, error) {
	k, m := o.K, o.M
	targets := absolute(o.Targets)
	if len(targets) == 0 {
		if k == 0 {
			k, m = defaultK, defaultM
		}
		for i := range k + m {
			targets = append(targets, filepath.Join("vault", fmt.Sprint("t", i+1)))
		}
	} else if k == 0 {
		k, m = shards(len(targets))
	}
	var b strings.Builder
	say := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	say("# Holdfast on one machine. Relative paths are taken from this file's folder.")
	say("# `holdfast check` says what is wrong with it; a field that is not known is an error.")
	say("region: local")
	say("data: .")
	say("")
	say("# Bytes in flight. size / window leases run at once.")
	say("staging:")
	say("  - {share: staging, size: 2GiB, window: 512MiB}")
	say("")
	say("# Each pack is cut into k+m shards, one a target; any m targets may be lost.")
	say("# The order of targets, k, m and the grid are fixed once the vault is made.")
	say("# A target can be a bucket, too; `holdfast target probe` says which settings its server needs:")
	say("#   {name: t1, kind: s3, url: https://s3.example.org, bucket: holdfast-1, access_key_file: keys/s3, secret_key_file: keys/s3.secret}")
	say("vault:")
	say("  name: local")
	say("  grid: 64KiB")
	say("  compression: %s   # one of zstd-fastest, zstd-default, minlz, none", cmp.Or(o.Compression, string(seal.MethodZstd)))
	say("  shards: {k: %d, m: %d}", k, m)
	say("  targets:")
	for i, t := range targets {
		say("    - {name: t%d, kind: file, path: %s}", i+1, quote(t))
	}
	say("")
	say("# Whoever has the passphrase and k targets can read every backup.")
	say("keys: {dir: keys, passphrase_file: keys/passphrase}")
	say("")
	sources(o, say)
	say("")
	say("# The service restores below these folders only.")
	say("restore: {roots: [restored]}")
	return b.String(), nil
}

// sources is the section of those that options name, or what it could be.
func sources(o Options, say func(format string, a ...any)) {
	v := o.VCenter.absolute()
	if len(o.Images) == 0 && v == (VCenter{}) {
		say("# sources:")
		say("#   - {name: images, kind: images, path: /srv/vms}")
		say("#   - {name: vcenter, kind: vsphere, url: https://vcenter.example.org, user: holdfast@vsphere.local, password_file: /etc/holdfast/vcenter}")
		return
	}
	say("sources:")
	for i, path := range absolute(o.Images) {
		say("  - {name: %s, kind: images, path: %s}", sourceName(i), quote(path))
	}
	if v == (VCenter{}) {
		return
	}
	say("  - name: vcenter")
	say("    kind: vsphere")
	say("    url: %s", quote(v.URL))
	say("    user: %s", quote(v.User))
	say("    password_file: %s", quote(v.PasswordFile))
	if v.Thumbprint != "" {
		say("    thumbprint: %s", quote(v.Thumbprint))
	}
}

func sourceName(i int) string {
	if i == 0 {
		return "images"
	}
	return fmt.Sprint("images", i+1)
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
