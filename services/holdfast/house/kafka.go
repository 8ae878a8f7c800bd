package house

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
)

// Kafka is how the brokers of the configuration are reached.
func Kafka(c conf.Kafka) (stage.Reach, error) {
	d := stage.Door{}
	if c.TLS != nil {
		t, err := clientTLS(*c.TLS)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls: %w", err)
		}
		d.TLS = t
	}
	if s := c.SASL; s != nil {
		d.User = s.User
		d.Password = func() (string, error) {
			b, err := Passphrase(s.PasswordFile)
			if err != nil {
				return "", fmt.Errorf("kafka.sasl.password_file: %w", err)
			}
			return string(b), nil
		}
	}
	return d.Connect(c.Brokers...), nil
}

// clientTLS trusts the CA, or where none is named the system's, and shows a
// certificate of our own if there is one.
func clientTLS(c conf.TLS) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("cert_file and key_file go together")
	}
	if c.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return t, nil
}
