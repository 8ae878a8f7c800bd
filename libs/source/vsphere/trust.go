package vsphere

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// dialTimeout: a host in reach answers at once, one that is off never.
const dialTimeout = 15 * time.Second

// trust says which certificates are believed: the vCenter's by its thumbprint or
// by an authority; a host's by the thumbprint that the vCenter gave with a lease.
type trust struct {
	roots *x509.CertPool // nil: the system's

	mu     sync.Mutex
	prints map[string]string // by host:port, as plain hex
}

func newTrust(host, print string, roots *x509.CertPool) *trust {
	t := &trust{roots: roots, prints: map[string]string{}}
	if print != "" {
		t.learn(host, print)
	}
	return t
}

// learn takes a thumbprint of a host, from settings or from who is trusted.
func (t *trust) learn(host, print string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prints[address(host)] = print
}

func address(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), "443")
	}
	return host
}

// dial connects to a server and believes it, or says what was seen.
func (t *trust) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{
		// The check is ours: a thumbprint needs no chain, and its error must say what was seen.
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return t.verify(addr, cs) },
	}}
	return d.DialContext(ctx, network, addr)
}

func (t *trust) verify(addr string, cs tls.ConnectionState) error {
	leaf := cs.PeerCertificates[0]
	seen := sha256.Sum256(leaf.Raw)
	old := sha1.Sum(leaf.Raw)
	t.mu.Lock()
	want := t.prints[addr]
	t.mu.Unlock()
	if want != "" {
		if want == hex.EncodeToString(seen[:]) || want == hex.EncodeToString(old[:]) {
			return nil
		}
		return &untrusted{addr, fmt.Sprintf("its certificate (%s) has the SHA-256 thumbprint %s, and %s is expected: "+
			"if its certificate was renewed, set the new thumbprint; else somebody stands between", leaf.Subject, colons(seen[:]), pretty(want))}
	}
	host, _, _ := net.SplitHostPort(addr)
	chain := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		chain.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: t.roots, Intermediates: chain})
	if err == nil {
		return nil
	}
	return &untrusted{addr, fmt.Sprintf("%v; its SHA-256 thumbprint is %s: if that is what its own console shows, set it as thumbprint, "+
		"or set ca_file to the authority that signed it", err, colons(seen[:]))}
}

// untrusted is a server that is not believed.
type untrusted struct{ addr, why string }

func (u *untrusted) Error() string {
	return "the certificate of " + u.addr + " is not trusted: " + u.why
}

// normalThumbprint makes plain lower hex of what a person copied from somewhere.
func normalThumbprint(s string) (string, error) {
	plain := strings.ToLower(strings.NewReplacer(":", "", " ", "", "-", "").Replace(strings.TrimSpace(s)))
	if plain == "" {
		return "", nil
	}
	b, err := hex.DecodeString(plain)
	if err != nil || len(b) != sha256.Size && len(b) != sha1.Size {
		return "", fmt.Errorf("thumbprint %q: want the SHA-256 (32 bytes) or SHA-1 (20 bytes) of the certificate in hex, as AA:BB and so on", s)
	}
	return plain, nil
}

func colons(b []byte) string {
	all := make([]string, len(b))
	for i, c := range b {
		all[i] = fmt.Sprintf("%02X", c)
	}
	return strings.Join(all, ":")
}

func pretty(plain string) string {
	b, _ := hex.DecodeString(plain)
	return colons(b)
}
