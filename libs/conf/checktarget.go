package conf

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	// bucketRule is for servers of old, too; AWS takes less.
	bucketRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$`)
	prefixRule = regexp.MustCompile(`^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*$`)
	wordRule   = regexp.MustCompile(`^[!-~]+$`)
)

// checkTargets says what is wrong with each target, and with two that lead to one place.
func checkTargets(targets []Target, say sayer) {
	names, places := map[string]bool{}, map[string]string{}
	for i := range targets {
		t, at := &targets[i], fmt.Sprintf("vault.targets[%d]", i)
		if !nameRule.MatchString(t.Name) {
			say(at+".name", "%q is no name: letters, digits, - and _, at most 63", t.Name)
		} else if names[t.Name] {
			say(at+".name", "%q is there twice", t.Name)
		}
		names[t.Name] = true
		t.Bandwidth.check(at+".bandwidth", say)
		switch t.Kind {
		case "file":
			t.checkFile(at, places, say)
		case "s3":
			t.checkS3(at, say)
			for _, o := range targets[:i] {
				if o.Kind == "s3" && o.URL == t.URL && o.Bucket == t.Bucket && (strings.HasPrefix(o.Prefix, t.Prefix) || strings.HasPrefix(t.Prefix, o.Prefix)) {
					say(at+".bucket", "%s is in the place of target %s: one bucket would hold two shards of each pack under one name", t.Where(), o.Name)
				}
			}
		default:
			say(at+".kind", "%q is not known; there are: file, s3", t.Kind)
		}
	}
}

func (t *Target) checkFile(at string, places map[string]string, say sayer) {
	t.foreign(at, say, map[string]bool{"url": t.URL != "", "bucket": t.Bucket != "", "prefix": t.Prefix != "", "region": t.Region != "",
		"access_key_file": t.AccessKeyFile != "", "secret_key_file": t.SecretKeyFile != "", "ca_file": t.CAFile != "",
		"connections": t.Connections != 0, "rate": t.Rate != 0, "dialect": t.Dialect != Dialect{}})
	if t.Path == "" {
		say(at+".path", "is missing: the folder of the target")
		return
	}
	if isFile(t.Path) {
		say(at+".path", "%s is a file, not a folder", t.Path)
	}
	real := realPath(t.Path)
	if other, ok := places[real]; ok {
		say(at+".path", "%s is the folder of target %s too: one disk would hold two shards of each pack", t.Path, other)
	}
	places[real] = t.Name
}

// foreign names the keys of the other kind, which would be ignored.
func (t *Target) foreign(at string, say sayer, keys map[string]bool) {
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k, set := range keys {
			if set && !yield(k) {
				return
			}
		}
	}) {
		say(at+"."+key, "is not of a target of kind %s", t.Kind)
	}
}

func (t *Target) checkS3(at string, say sayer) {
	t.foreign(at, say, map[string]bool{"path": t.Path != ""})
	secure, err := checkServer(t.URL)
	if err != nil {
		say(at+".url", "%v", err)
	}
	switch {
	case t.Bucket == "":
		say(at+".bucket", "is missing: the bucket's name")
	case !bucketRule.MatchString(t.Bucket):
		say(at+".bucket", "%q is no bucket's name", t.Bucket)
	}
	if !prefixRule.MatchString(t.Prefix) {
		say(at+".prefix", "%q is no prefix: names of letters, digits, '.', '_' and '-', each ended by a slash, none hidden", t.Prefix)
	}
	if !wordRule.MatchString(t.Region) {
		say(at+".region", "%q is no region", t.Region)
	}
	for _, k := range []struct{ key, file, what string }{{"access_key_file", t.AccessKeyFile, "access"}, {"secret_key_file", t.SecretKeyFile, "secret"}} {
		if k.file == "" {
			say(at+"."+k.key, "is missing: a file with the %s key", k.what)
		} else if err := checkSecret(k.file); err != nil {
			say(at+"."+k.key, "%v", err)
		}
	}
	if t.CAFile != "" && err == nil && !secure {
		say(at+".ca_file", "is of no use: %s has no certificate", t.URL)
	} else if t.CAFile != "" {
		if err := checkPEM(t.CAFile); err != nil {
			say(at+".ca_file", "%v", err)
		}
	}
	if t.Connections < 1 || t.Connections > 1000 {
		say(at+".connections", "%d is not from 1 to 1000", t.Connections)
	}
	if t.Rate < 1 || t.Rate > 100_000 {
		say(at+".rate", "%d calls a second is not from 1 to 100000", t.Rate)
	}
	t.Dialect.check(at+".dialect", say)
}

func (d *Dialect) check(at string, say sayer) {
	for _, k := range []struct {
		key, value string
		all        []string
	}{{"style", d.Style, []string{"path", "host"}}, {"checksum", d.Checksum, []string{"crc32c", "md5", "none"}}} {
		if !slices.Contains(k.all, k.value) {
			say(at+"."+k.key, "%q is not one of %s", k.value, strings.Join(k.all, ", "))
		}
	}
	if d.StorageClass != "" && !wordRule.MatchString(d.StorageClass) {
		say(at+".storage_class", "%q is no storage class", d.StorageClass)
	}
}

// checkServer wants an address and nothing else: the bucket has its own field, and
// a key in it would lie in a file that is no secret.
func checkServer(text string) (secure bool, err error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return false, errors.New("is missing: https://host of the server")
	case err != nil: // the whole error repeats the text, and with it a key
		return false, fmt.Errorf("is no URL: %w", cmp.Or(errors.Unwrap(err), err))
	case u.User != nil:
		return false, errors.New("holds keys: say them as access_key_file and secret_key_file")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return false, fmt.Errorf("%q is not https://host or https://host:port", text)
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return false, fmt.Errorf("%q says more than https://host:port; the bucket has its own field", text)
	}
	return u.Scheme == "https", nil
}
