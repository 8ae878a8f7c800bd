package conf

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LoadTargets reads the targets of a vault out of a configuration, and nothing
// else: after a disaster the file is there, and the shares and sources that it
// names are not. A file with nothing but vault.targets will do, as will some of them.
func LoadTargets(path string) ([]Target, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c := new(Config)
	if err := decode(b, c); err != nil {
		return nil, Findings{found(path, err)}
	}
	if len(c.Vault.Targets) == 0 {
		return nil, Findings{{File: path, Path: "vault.targets", Message: "there are none"}}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("folder of %s: %w", path, err)
	}
	c.fill()
	c.anchor(dir)
	var bad Findings
	checkTargets(c.Vault.Targets, func(at, format string, a ...any) {
		bad = append(bad, Finding{File: path, Line: line(b, at), Path: at, Message: fmt.Sprintf(format, a...)})
	})
	if len(bad) > 0 {
		return nil, bad
	}
	return c.Vault.Targets, nil
}

// TargetURL is the form of a bucket on a command line. Its keys are the fields of
// a target; the secrets stay in files.
const TargetURL = "s3://BUCKET/PREFIX?url=https://HOST&access_key_file=FILE&secret_key_file=FILE"

// ParseTarget reads a TargetURL. Relative paths are taken from the working folder.
func ParseTarget(text string) (t Target, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return t, fmt.Errorf("no target: want %s", TargetURL) // without the text, which may hold a key
	case u.Scheme != "s3" || u.Opaque != "" || u.Fragment != "":
		return t, fmt.Errorf("%q is no kind of target: want %s", u.Scheme, TargetURL)
	case u.User != nil:
		return t, errors.New("target: keys are in files, not in the URL: access_key_file=FILE&secret_key_file=FILE")
	}
	t = Target{Name: "s3", Kind: "s3", Bucket: u.Host, Prefix: strings.TrimPrefix(u.Path, "/")}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, fmt.Errorf("target: %w: want %s", err, TargetURL)
	}
	for key, values := range q {
		if len(values) != 1 {
			return t, fmt.Errorf("target: %s is there %d times", key, len(values))
		}
		if err := t.set(key, values[0]); err != nil {
			return t, fmt.Errorf("target: %w", err)
		}
	}
	t.fill()
	for _, p := range t.paths() {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return t, fmt.Errorf("target: %w", err)
		}
	}
	var bad error
	t.checkS3("", func(at, format string, a ...any) {
		if bad == nil {
			bad = fmt.Errorf("target %s: "+format, append([]any{strings.TrimPrefix(at, ".")}, a...)...)
		}
	})
	return t, bad
}

func (t *Target) set(key, value string) (err error) {
	text := map[string]*string{"url": &t.URL, "region": &t.Region, "access_key_file": &t.AccessKeyFile, "secret_key_file": &t.SecretKeyFile,
		"ca_file": &t.CAFile, "style": &t.Dialect.Style, "checksum": &t.Dialect.Checksum, "storage_class": &t.Dialect.StorageClass}
	number := map[string]*int{"connections": &t.Connections, "rate": &t.Rate}
	truth := map[string]**bool{"conditional": &t.Dialect.Conditional, "sign_accept_encoding": &t.Dialect.SignAcceptEncoding}
	switch {
	case text[key] != nil:
		*text[key] = value
	case number[key] != nil:
		if *number[key], err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("%s %q is no number", key, value)
		}
	case truth[key] != nil:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%s %q is neither true nor false", key, value)
		}
		*truth[key] = &b
	case key == "expect":
		size, err := ParseSize(value)
		if err != nil {
			return fmt.Errorf("expect: %w", err)
		}
		t.Dialect.Expect = &size
	default:
		return fmt.Errorf("unknown field %q: want %s", key, TargetURL)
	}
	return nil
}
