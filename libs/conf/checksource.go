package conf

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

func (c *Config) checkSources(say sayer) {
	names := map[string]bool{}
	for i := range c.Sources {
		s, at := &c.Sources[i], fmt.Sprintf("sources[%d]", i)
		if !nameRule.MatchString(s.Name) {
			say(at+".name", "%q is no name: letters, digits, - and _, at most 63", s.Name)
		} else if names[s.Name] {
			say(at+".name", "%q is there twice", s.Name)
		}
		names[s.Name] = true
		switch s.Kind {
		case "images":
			s.checkImages(at, say)
		case "vsphere":
			s.checkVSphere(at, say)
		case "synthetic":
			s.checkSynthetic(at, say)
		default:
			say(at+".kind", "%q is not known; there are: images, vsphere, synthetic", s.Kind)
		}
		if s.Synthetic != nil && s.Kind != "synthetic" {
			say(at+".synthetic", "is not of a source of kind %s", s.Kind)
		}
		s.checkLimits(at+".limits", say)
		s.Bandwidth.check(at+".bandwidth", say)
	}
}

func (s *Source) checkLimits(at string, say sayer) {
	if s.Limits.Snapshots < 1 {
		say(at+".snapshots", "%d is less than one", s.Limits.Snapshots)
	}
	for _, l := range []struct {
		key string
		n   int
	}{{"per_host", s.Limits.PerHost}, {"per_datastore", s.Limits.PerDatastore}, {"connections", s.Limits.Connections}} {
		if l.n < 0 || l.n == 0 && s.Kind == "vsphere" {
			say(at+"."+l.key, "%d is less than one", l.n)
		}
	}
	switch l := s.Limits.Latency; {
	case l.Slow > 0 && l.Hold > l.Slow:
		say(at+".latency.hold", "%s is above slow, %s: who reads would be slowed down for who begins anew", time.Duration(l.Hold), time.Duration(l.Slow))
	case l.Hold > 0 && l.Hold < Duration(time.Millisecond):
		say(at+".latency.hold", "%s is below a millisecond: no storage answers so, and nothing would be leased beside a first machine", time.Duration(l.Hold))
	case l.Slow > 0 && l.Slow < Duration(time.Millisecond):
		say(at+".latency.slow", "%s is below a millisecond: no storage answers so", time.Duration(l.Slow))
	}
}

func (s *Source) checkImages(at string, say sayer) {
	if st, err := os.Stat(s.Path); err != nil {
		say(at+".path", "%v", err)
	} else if !st.IsDir() {
		say(at+".path", "%s is a file, not a folder", s.Path)
	}
	s.foreign(at, say, map[string]string{"url": s.URL, "user": s.User, "password_file": s.PasswordFile, "thumbprint": s.Thumbprint,
		"ca_file": s.CAFile, "transport": s.Transport})
	if s.CheckOneIn != nil {
		say(at+".check_one_in", "is not of an images source")
	}
}

// foreign names the keys of another kind, which would be ignored.
func (s *Source) foreign(at string, say sayer, keys map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] != "" {
			say(at+"."+key, "is not of a source of kind %s", s.Kind)
		}
	}
}

func (s *Source) checkVSphere(at string, say sayer) {
	s.foreign(at, say, map[string]string{"path": s.Path, "pre": s.Pre, "post": s.Post})
	if err := checkURL(s.URL); err != nil {
		say(at+".url", "%v", err)
	}
	if s.User == "" {
		say(at+".user", "is missing: who logs in")
	}
	if s.PasswordFile == "" {
		say(at+".password_file", "is missing: a file with the password of %q", s.User)
	} else if err := checkSecret(s.PasswordFile); err != nil {
		say(at+".password_file", "%v", err)
	}
	switch {
	case s.Thumbprint != "" && s.CAFile != "":
		say(at+".ca_file", "stands beside a thumbprint: one of the two says which certificate is believed")
	case s.Thumbprint != "":
		if err := checkThumbprint(s.Thumbprint); err != nil {
			say(at+".thumbprint", "%v", err)
		}
	case s.CAFile != "":
		if err := checkPEM(s.CAFile); err != nil {
			say(at+".ca_file", "%v", err)
		}
	}
	switch s.Transport {
	case "auto", "nfc", "datastore":
	default:
		say(at+".transport", "%q is not one of auto, nfc, datastore", s.Transport)
	}
	if n := *s.CheckOneIn; n < 0 || n > 1<<20 {
		say(at+".check_one_in", "%d is not 0 (never), nor one in so many up to %d", n, 1<<20)
	}
}

// checkURL wants a vCenter's address and nothing else: what is behind it is the
// source's to say, and a password in it would lie in a file that is no secret.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return fmt.Errorf("is missing: https://host of the vCenter")
	case err != nil: // the whole error repeats the text, and with it a password
		return fmt.Errorf("is no URL: %w", cmp.Or(errors.Unwrap(err), err))
	case u.User != nil:
		return fmt.Errorf("holds a user: say it as user and password_file")
	case u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q is not https://host or https://host:port", text)
	case strings.Trim(u.Path, "/") != "" && strings.Trim(u.Path, "/") != "sdk", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("%q says more than https://host:port", text)
	}
	return nil
}

func checkPEM(path string) error {
	pem, err := os.ReadFile(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return err
}

func checkSecret(path string) error {
	b, err := os.ReadFile(path)
	switch {
	case err != nil:
		return err
	case strings.TrimRight(string(b), "\r\n") == "":
		return fmt.Errorf("%s is empty", path)
	}
	return nil
}

// checkThumbprint takes SHA-256 and SHA-1, with or without colons.
func checkThumbprint(s string) error {
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != 32 && len(b) != 20 {
		return fmt.Errorf("%q is no SHA-256 (32 bytes, AA:BB:…) or SHA-1 (20) of a certificate", s)
	}
	return nil
}
