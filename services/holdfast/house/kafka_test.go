package house

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
)

// A broker that wants TLS and a password is reached with both, and not with a wrong
// one of either; a password that was changed is read anew.
func TestKafkaBehindADoor(t *testing.T) {
	dir := t.TempDir()
	cert := selfSigned(t, filepath.Join(dir, "ca.pem"))
	addr := stagetest.Guarded(t, cert, "holdfast", "open sesame")
	file := filepath.Join(dir, "password")
	put := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reach := func(c conf.Kafka) error {
		t.Helper()
		c.Brokers = []string{addr}
		r, err := Kafka(c)
		if err != nil {
			return err
		}
		cl, err := client.Open("local", r...)
		if err != nil {
			return err
		}
		defer cl.Close()
		return cl.Reach(t.Context())
	}
	door := conf.Kafka{TLS: &conf.TLS{CAFile: filepath.Join(dir, "ca.pem")}, SASL: &conf.SASL{User: "holdfast", PasswordFile: file}}
	put("open sesame")
	if err := reach(door); err != nil {
		t.Fatal(err)
	}
	put("open barley")
	if err := reach(door); err == nil {
		t.Error("a wrong password is let in")
	}
	put("open sesame")
	other := door
	selfSigned(t, filepath.Join(dir, "other.pem"))
	other.TLS = &conf.TLS{CAFile: filepath.Join(dir, "other.pem")}
	if err := reach(other); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody trusts: %v", err)
	}
	put("")
	if err := reach(door); err == nil || !strings.Contains(err.Error(), "kafka.sasl.password_file") {
		t.Errorf("an empty password: %v", err)
	}
	for _, c := range []struct {
		want string
		tls  conf.TLS
	}{
		{"go together", conf.TLS{CertFile: file}},
		{"holds no certificate", conf.TLS{CAFile: file}},
		{"no such file", conf.TLS{CAFile: file + ".not"}},
		{"cert_file", conf.TLS{CertFile: file, KeyFile: file}},
	} {
		if _, err := Kafka(conf.Kafka{TLS: &c.tls}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// selfSigned makes a certificate for loopback, and writes it to path.
func selfSigned(t *testing.T, path string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
