package conf

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// nameRule is for everything that becomes part of a topic, a path or a label.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$`)

// check returns all that is wrong, not only the first.
func (c *Config) check() (bad Findings) {
	say := func(path, format string, a ...any) {
		bad = append(bad, Finding{Path: path, Message: fmt.Sprintf(format, a...)})
	}
	if !nameRule.MatchString(c.Region) && (c.Region != "" || len(c.Regions) == 0) {
		say("region", "%q is no name: letters, digits, - and _, at most 63", c.Region)
	}
	c.checkRegions(say)
	if g := time.Duration(c.Grace); g < time.Second {
		say("grace", "%s is too short: a stop lets go of its rooms, which takes a second", g)
	}
	c.checkStaging(say)
	c.checkVault(say)
	c.checkSources(say)
	c.checkFiles(say)
	if d := c.Keys.Dir; d != "" && isFile(d) {
		say("keys.dir", "%s is a file, not a folder", d)
	}
	c.checkTraces(say)
	if c.Limits.Workers < 0 {
		say("limits.workers", "%d is below zero", c.Limits.Workers)
	}
	return bad
}

func (c *Config) checkTraces(say sayer) {
	if c.Traces.Share <= 0 || c.Traces.Share > 1 {
		say("traces.share", "%v is no share: above 0, at most 1", c.Traces.Share)
	}
	if e := c.Traces.Endpoint; e != "" {
		if u, err := url.Parse(e); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			say("traces.endpoint", "%q is no URL as http://localhost:4318/v1/traces", e)
		}
	}
}

// checkFiles looks for the files of secrets and certificates: one that is missing is
// told now, and not by the first process that needs it.
func (c *Config) checkFiles(say sayer) {
	type named struct{ path, file string }
	files := []named{{"ledger.password_file", c.Ledger.PasswordFile}}
	if !c.firstStart() {
		files = append(files, named{"keys.passphrase_file", c.Keys.PassphraseFile})
	}
	if t := c.Kafka.TLS; t != nil {
		files = append(files, named{"kafka.tls.ca_file", t.CAFile}, named{"kafka.tls.cert_file", t.CertFile}, named{"kafka.tls.key_file", t.KeyFile})
	}
	if s := c.Kafka.SASL; s != nil {
		files = append(files, named{"kafka.sasl.password_file", s.PasswordFile})
	}
	for _, k := range files {
		if k.file == "" {
			continue
		}
		if st, err := os.Stat(k.file); err != nil {
			say(k.path, "%v", err)
		} else if st.IsDir() {
			say(k.path, "%s is a folder, not a file", k.file)
		}
	}
}

// firstStart reports whether keys, and a passphrase with them, are still to be made.
func (c *Config) firstStart() bool {
	if c.Keys.Dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(c.Keys.Dir, "vault.pub"))
	return errors.Is(err, os.ErrNotExist)
}

type sayer func(path, format string, a ...any)

func (c *Config) checkStaging(say sayer) {
	if len(c.Staging) > 1 {
		say("staging[1]", "one share serves all sources; there are %d", len(c.Staging))
	}
	for i, s := range c.Staging {
		at := fmt.Sprintf("staging[%d]", i)
		switch {
		case s.Share == "":
			say(at+".share", "is missing: the folder for bytes in flight")
		case isFile(s.Share):
			say(at+".share", "%s is a file, not a folder", s.Share)
		}
		if s.Window < 32<<20 {
			say(at+".window", "%v is too small: a lease needs two extents of 16MiB", s.Window)
		} else if s.Size < s.Window {
			say(at+".size", "%v is less than one window of %v", s.Size, s.Window)
		} else if n := Size(len(c.Sources)); s.Part(len(c.Sources)) < s.Window {
			say(at+".size", "%v is shared by %d sources, and %v, a window for each, is the least", s.Size, n, n*s.Window)
		}
	}
	if c.Sealed.Reserve < 64<<20 {
		say("sealed.reserve", "%v is too small: two packs of 16MiB, doubled, are the least", c.Sealed.Reserve)
	}
}

func (c *Config) checkVault(say sayer) {
	v := c.Vault
	if !nameRule.MatchString(v.Name) {
		say("vault.name", "%q is no name: letters, digits, - and _, at most 63", v.Name)
	}
	if g := int64(v.Grid); g&(g-1) != 0 || g < 4<<10 || g > 256<<10 {
		say("vault.grid", "%v is no power of two from 4KiB to 256KiB", v.Grid)
	}
	switch v.Compression {
	case "zstd-fastest", "zstd-default", "minlz", "none":
	default:
		say("vault.compression", "%q is not one of zstd-fastest, zstd-default, minlz, none", v.Compression)
	}
	if len(v.Targets) == 0 {
		return
	}
	if v.Shards.K < 1 || v.Shards.M < 0 || v.Shards.K+v.Shards.M > 200 {
		say("vault.shards", "k=%d m=%d: k is 1 or more, m 0 or more, both at most 200 together", v.Shards.K, v.Shards.M)
	} else if n := v.Shards.K + v.Shards.M; n != len(v.Targets) {
		say("vault.targets", "there are %d, and k+m is %d: each shard of a pack needs a target of its own", len(v.Targets), n)
	}
	checkTargets(v.Targets, say)
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.IsDir()
}

// realPath follows links as far as the path exists, so that two names of one
// folder are seen.
func realPath(path string) string {
	path = filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir := filepath.Dir(path)
	if dir == path || strings.TrimSpace(dir) == "" {
		return path
	}
	return filepath.Join(realPath(dir), filepath.Base(path))
}
