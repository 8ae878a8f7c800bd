// Package vsphere backs up the virtual machines of a vCenter.
//
// A machine is known by its instance UUID: a moref is another one after the
// machine was registered anew, and repeats across vCenters. A backup of it stands
// on a snapshot that bears the order's name; nothing else is remembered at the
// vCenter, so any process finds by that name what there is to end.
//
// # How bytes are read
//
// VMware's own library for block access may not be shipped, so there are two
// readers behind one interface, chosen for each disk:
//
//   - datastore: ranges of the disk's flat file by the datastore's HTTP service
//     (/folder). Reads no more than what changed. Only where the frozen state is one
//     flat file: no older snapshot's delta below or above it, no RDM, no vSAN object.
//   - nfc: an export lease, which streams the whole disk as a streamOptimized VMDK.
//     Works everywhere; an incremental saves room in the vault, not reading.
//
// # What is kept beside the disks
//
//	settings.json    what the machine is: ConfigInfo, tags, attributes, policies, MACs
//	machine.ovf      the same in the words of OVF, by the vCenter itself
//	machine.nvram    EFI variables or BIOS settings, byte for byte
package vsphere

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/soap"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Options of a vCenter.
type Options struct {
	// URL is https://host[:port]; "/sdk" is added.
	URL  string
	User string
	// Password is asked at each login, so that a rotation of its file is picked up.
	Password func() (string, error)
	// Thumbprint is the SHA-256 or SHA-1 of the server's certificate, as the vCenter
	// shows it. Else CAFile is a PEM file of the authorities to trust. Neither: the
	// system's.
	Thumbprint string
	CAFile     string
	// Transport is auto (default), nfc or datastore: see the package.
	Transport string
	Log       *slog.Logger
}

// The transports.
const (
	TransportAuto      = "auto"
	TransportNFC       = "nfc"
	TransportDatastore = "datastore"
)

// Source is one vCenter. It implements source.Source and source.Marked.
type Source struct {
	*session
	transport string
	pause     time.Duration // between two tries to quiesce

	mu     sync.Mutex
	leases map[string]map[*lease]bool // open export leases of this process, by order name
	near   *places                    // of a moment ago
}

// quiescePause rests between two tries to quiesce: what kept the guest from it
// (a checkpoint of a database, another backup's freeze) is often over by then.
const quiescePause = 5 * time.Second

// Open returns a source that connects when it is first asked: a vCenter that is
// down stops no start. What can be seen to be wrong without one is an error.
func Open(o Options) (*Source, error) {
	u, err := endpoint(o.URL)
	if err != nil {
		return nil, err
	}
	switch o.Transport {
	case "":
		o.Transport = TransportAuto
	case TransportAuto, TransportNFC, TransportDatastore:
	default:
		return nil, fmt.Errorf("vCenter %s: transport %q: want auto, nfc or datastore", u.Host, o.Transport)
	}
	if o.User == "" || o.Password == nil {
		return nil, fmt.Errorf("vCenter %s: user and password are needed", u.Host)
	}
	print, err := normalThumbprint(o.Thumbprint)
	if err != nil {
		return nil, fmt.Errorf("vCenter %s: %w", u.Host, err)
	}
	var roots *x509.CertPool
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("vCenter %s: ca_file: %w", u.Host, err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("vCenter %s: ca_file %s holds no PEM certificate", u.Host, o.CAFile)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := newSession(o, u, newTrust(u.Host, print, roots))
	return &Source{session: s, transport: o.Transport, pause: quiescePause, leases: map[string]map[*lease]bool{}}, nil
}

// endpoint is where the API is.
func endpoint(raw string) (*url.URL, error) {
	u, err := soap.ParseURL(strings.TrimSpace(raw))
	if err != nil {
		return nil, fmt.Errorf("vCenter URL: %w", err)
	}
	if u == nil || u.Host == "" || u.Scheme != "https" {
		return nil, fmt.Errorf("vCenter URL %q: want https://host[:port]", raw)
	}
	if u.User.Username() != "" {
		return nil, errors.New("vCenter URL: user and password have settings of their own, so that no log shows them")
	}
	u.User = nil
	return u, nil
}

// Close ends the session. Leases that are still open are given up.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.abortLeases(ctx, "")
	return s.logout(ctx)
}

// closeTimeout bounds the last words to a vCenter, which may be down.
const closeTimeout = 10 * time.Second

var (
	_ source.Source = (*Source)(nil)
	_ source.Marked = (*Source)(nil)
)
