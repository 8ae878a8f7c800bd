// Package vcenter is a vCenter for one machine: govmomi's simulator with a data
// path under it, so that what backs machines up and restores them can be run and
// tested without hardware.
//
// The simulator has the inventory, tasks, events and properties. Here is what it
// lacks: disks that hold bytes and are frozen by snapshots, changed block
// tracking, leases that stream and end, files of datastores behind a session,
// imports that keep what was sent, doors with a certificate of their own. Clients
// speak to it as to any vCenter; the methods of VCenter are the operator's hands,
// the guests, and the trouble (Inject).
//
// # Disks
//
// A disk is a chain: a base "-flat.vmdk" and, for each snapshot, a delta on top
// that takes the guest's writes. The base's file gives the frozen bytes as long as
// no older delta stands on it. A removal merges a delta down into what lies under
// it; under an open export it cannot, and leaves the machine with consolidation
// needed and the caller with FileLocked. Blocks are tracked by 64 KiB with the
// number of the snapshot that ends their generation, so a query is exact for any
// earlier change id of the same tracking, and ids outlive their snapshots.
//
// # What is modelled on documentation, and never was held against a real one
//
// The faults that queries give for an id of another tracking (FileFault) and for
// a bad one (InvalidArgument); that tracking begins at a stun that finds no
// snapshot, and anew after a revert; that a removal under an export leaves
// consolidation needed; that a lease dies with its session (its name bears it) and
// then says so; that a lease on a whole machine forbids to start, change, move or
// destroy it; that a quiesced snapshot without tools is not refused and still says
// Quiesced; that a PUT of a whole -flat file goes past the tracking.
//
// # What differs
//
// All hosts share one door, beside the vCenter's own, and datastores are folders
// of one disk: a relocation moves no bytes. A delta is in a layout of its own: it
// can be downloaded, as in reality, and not be read as a flat file. Memory is not
// snapshotted. Clones get empty disks. There is no port 902, no vSAN, no vApp, and
// no lease that pulls. A PUT of a range is taken, which no document promises of a
// real one; with Options.WholePut it is not. Detached disks and what
// clients reconfigure beyond name, power, tracking and disks are forgotten by a
// restart. References are given out anew by one, in another order.
package vcenter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // tags
	"github.com/vmware/govmomi/vim25/types"
)

// Options of a vCenter. Only Dir must be given.
type Options struct {
	Dir  string // its data, made if it is not there; what was added comes back from it
	Name string // for people; "demo"
	UUID string // its instance UUID; "": that of last time, or a new one
	Port int    // 0: that of last time if it is free, else any that is

	User, Password string // "administrator@vsphere.local", "demo"

	Clusters   int // 1, named C0…
	Hosts      int // of each cluster; 2, named esx-0… through all clusters
	Datastores int // 2, named ds-0…; every host mounts each

	DatastoreSize  int64         // bytes; 1 TiB
	SessionTimeout time.Duration // a session unused for that long ends; 30 minutes
	LeaseTimeout   time.Duration // a lease without progress for that long dies; 300 seconds
	WholePut       bool          // /folder takes no ranges: it ignores Content-Range, and a PUT is the whole file
	Areas          int           // most areas in one answer of QueryChangedDiskAreas; 2000

	Log *slog.Logger // of the vCenter's own troubles; nil: none
}

const (
	defaultSession = 30 * time.Minute
	defaultLease   = 300 * time.Second
	defaultAreas   = 2000
	defaultSize    = int64(1) << 40
)

func (o *Options) fill() error {
	if o.Dir == "" {
		return errors.New("a vCenter needs a folder")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("vCenter folder: %w", err)
	}
	o.Dir = dir
	o.Name, o.User, o.Password = or(o.Name, "demo"), or(o.User, "administrator@vsphere.local"), or(o.Password, "demo")
	o.Clusters, o.Hosts, o.Datastores, o.Areas = or(o.Clusters, 1), or(o.Hosts, 2), or(o.Datastores, 2), or(o.Areas, defaultAreas)
	o.DatastoreSize = or(o.DatastoreSize, defaultSize)
	o.SessionTimeout, o.LeaseTimeout = or(o.SessionTimeout, defaultSession), or(o.LeaseTimeout, defaultLease)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func or[T comparable](v, def T) T {
	if v == *new(T) {
		return def
	}
	return v
}

// VCenter is one running vCenter.
type VCenter struct {
	Options
	model *simulator.Model
	ca    *authority
	lock  *os.File
	house

	front, side *http.Server // the vCenter's own door, and its hosts'
	sideURL     url.URL
	url         url.URL
	serving     sync.WaitGroup

	mu       sync.Mutex // guards what follows; taken after a machine's, before nothing
	machines map[types.ManagedObjectReference]*machine
	files    map[string]*extent // local path of an extent: whose it is
	images   map[string]*image
	loose    map[string]*disk  // detached, by the path of their descriptor
	leases   map[string]*lease // by the id in their URLs

	sessions sessions
	faults   faults
	count    counts
	stop     chan struct{}
	working  sync.WaitGroup // guests that write, leases that wait to die
}

// building: the simulator's model shares state while it is made.
var building sync.Mutex

// Start runs a vCenter on loopback until Close, with the machines that Dir holds
// from earlier. Several may run in one process. A folder that another one uses
// is refused.
func Start(o Options) (*VCenter, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	v := &VCenter{Options: o, machines: map[types.ManagedObjectReference]*machine{}, files: map[string]*extent{},
		images: map[string]*image{}, loose: map[string]*disk{}, leases: map[string]*lease{}, stop: make(chan struct{})}
	v.sessions.last, v.sessions.tickets = map[string]time.Time{}, map[string]ticket{}
	if err := v.start(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

func (v *VCenter) start() error {
	if err := os.MkdirAll(v.Dir, 0o700); err != nil {
		return fmt.Errorf("vCenter folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(v.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("vCenter folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("%s is in use by another vCenter", v.Dir)
	}
	v.lock = lock
	if v.ca, err = authorityIn(v.Dir, v.Name); err != nil {
		return err
	}
	if v.UUID, err = remembered(v.Dir, "uuid", or(v.UUID, ""), uuid.NewString); err != nil {
		return err
	}
	if err := v.build(); err != nil {
		return fmt.Errorf("build the inventory of the vCenter: %w", err)
	}
	if err := v.serve(); err != nil {
		return err
	}
	return v.recall()
}

// serve opens the doors. The simulator's own server is made, because that wires
// its endpoints, and closed at once: it has no door of its own, shares one
// certificate among all instances, and waits for streams at the end.
func (v *VCenter) serve() error {
	front, err := v.listen("port", v.Port)
	if err != nil {
		return err
	}
	side, err := v.listen("hosts.port", 0)
	if err != nil {
		front.Close()
		return err
	}
	v.url = url.URL{Scheme: "https", Host: front.Addr().String()}
	v.sideURL = url.URL{Scheme: "https", Host: side.Addr().String()}

	s := v.model.Service
	s.RegisterEndpoints = true
	s.Listen = &url.URL{User: url.UserPassword(v.User, v.Password)}
	s.ServeMux = http.NewServeMux()
	v.routes(s.ServeMux)
	v.model.Map().Handler = v.dispatch
	s.RegisterSDK(v.policies())
	s.NewServer().Close()
	s.Listen.Scheme, s.Listen.Host = v.url.Scheme, v.url.Host
	v.model.Map().SessionManager().ServiceHostName = v.sideURL.Host
	v.model.Map().OptionManager().UpdateOptions(&types.UpdateOptions{ChangedValue: []types.BaseOptionValue{
		&types.OptionValue{Key: "vcsim.server.url", Value: v.url.String() + "/sdk"},
	}})

	hosts := http.NewServeMux()
	hosts.HandleFunc("/nfc/{lease}/{file}", v.nfc)
	hosts.HandleFunc("/folder/", v.folder)
	v.front = v.open(front, s.ServeMux, v.ca.vcenter)
	v.side = v.open(side, hosts, v.ca.host)
	return nil
}

func (v *VCenter) open(l net.Listener, h http.Handler, cert tls.Certificate) *http.Server {
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(v.Log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	v.serving.Go(func() {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			v.Log.Error("the vCenter no longer serves", "error", err)
		}
	})
	return srv
}

// URL is https://host:port.
func (v *VCenter) URL() string { return v.url.String() }

// Thumbprint is the SHA-256 of its certificate, "AA:BB:…".
func (v *VCenter) Thumbprint() string { return sha256Print(v.ca.vcenter) }

// CAFile is a PEM to trust: it signed the vCenter's certificate and its hosts'.
func (v *VCenter) CAFile() string { return v.ca.file }

// Close stops the vCenter; streams that are open are cut. What was written is in Dir.
func (v *VCenter) Close() error {
	var errs []error
	select {
	case <-v.stop:
		return nil
	default:
		close(v.stop)
	}
	for _, srv := range []*http.Server{v.front, v.side} {
		if srv != nil {
			errs = append(errs, srv.Close())
		}
	}
	v.serving.Wait()
	v.endLeases()
	v.working.Wait()
	if v.model != nil && v.model.Service != nil {
		errs = append(errs, v.keepAll())
		v.model.Remove()
	}
	if v.lock != nil {
		errs = append(errs, v.lock.Close())
	}
	return errors.Join(errs...)
}

// ctx is one for the operator's own hand: each has its own locks.
func (v *VCenter) ctx() *simulator.Context {
	c := *v.model.Service.Context
	c.Context = context.Background()
	return &c
}
