package vcenter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// life of a certificate; a demo older than that starts on a new folder.
const life = 10 * 365 * 24 * time.Hour

// authority is the instance's own certificate authority (a real one's VMCA): it
// signs the vCenter's certificate and that of its hosts.
type authority struct {
	file          string // PEM of its certificate
	vcenter, host tls.Certificate
}

// authorityIn finds an instance's certificates, or makes them: they stay the same
// for the folder's life, because people pin them.
func authorityIn(dir, name string) (*authority, error) {
	a := &authority{file: filepath.Join(dir, "ca.pem")}
	pair := func(who string) (tls.Certificate, error) {
		return tls.LoadX509KeyPair(filepath.Join(dir, who+".pem"), filepath.Join(dir, who+".key"))
	}
	var err error
	if a.vcenter, err = pair("vcenter"); err == nil {
		if a.host, err = pair("host"); err == nil {
			return a, nil
		}
	}
	if !os.IsNotExist(err) {
		return nil, fmt.Errorf("certificates of the vCenter: %w", err)
	}
	if err := a.make(dir, name); err != nil {
		return nil, fmt.Errorf("make certificates of the vCenter: %w", err)
	}
	if a.vcenter, err = pair("vcenter"); err != nil {
		return nil, err
	}
	a.host, err = pair("host")
	return a, err
}

func (a *authority) make(dir, name string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := certOf("CA of the demo vCenter " + name)
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.file, inPEM("CERTIFICATE", raw), 0o600); err != nil {
		return err
	}
	for _, who := range []string{"vcenter", "host"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		t := certOf(who + " of " + name)
		t.DNSNames, t.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		leaf, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
		if err != nil {
			return err
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, who+".key"), inPEM("PRIVATE KEY", secret), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, who+".pem"), inPEM("CERTIFICATE", leaf), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func certOf(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func inPEM(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

// thumbprint in the form that people copy: "AA:BB:…".
func thumbprint(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

func sha256Print(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return thumbprint(sum[:])
}

// sha1Print is what a lease says of its host's certificate, as real ones do.
func sha1Print(c tls.Certificate) string {
	sum := sha1.Sum(c.Certificate[0])
	return thumbprint(sum[:])
}
