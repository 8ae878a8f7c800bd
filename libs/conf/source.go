package conf

import (
	"cmp"
	"time"
)

// Source is one provider of machines: a folder of disk images, or a vCenter; for
// load tests, one that makes them up.
type Source struct {
	Name string `yaml:"name"`
	Kind string `yaml:"kind"` // images, vsphere or synthetic

	// Path of an images source: a folder of machines, each a folder of disk images.
	Path string `yaml:"path"`
	// Pre and Post of an images source run before a machine is read and after, with
	// HOLDFAST_MACHINE set: to make a snapshot and to remove it.
	Pre  string `yaml:"pre"`
	Post string `yaml:"post"`

	// URL of a vsphere source: https://vcenter.example.org, with a port where it is
	// not 443.
	URL string `yaml:"url"`
	// User who logs in there, such as holdfast@vsphere.local.
	User string `yaml:"user"`
	// PasswordFile holds the user's password. It is read at each login, so that a
	// rotation needs no restart.
	PasswordFile string `yaml:"password_file"`
	// Thumbprint of the vCenter's certificate, SHA-256 or SHA-1, AA:BB:…: this
	// certificate is believed and no other.
	Thumbprint string `yaml:"thumbprint"`
	// CAFile is a PEM of who signs the vCenter's certificate. With neither this
	// nor a thumbprint, the system's roots are believed.
	CAFile string `yaml:"ca_file"`
	// Transport is how disks are read: nfc (export leases), datastore (ranges of
	// files) or auto, the default, which chooses for each disk.
	Transport string `yaml:"transport"`
	// CheckOneIn backups by change tracking, one reads everything and compares it
	// with what the tracking claims: a tracking that lies is an alarm, and is not
	// believed until a compared backup found it true. 0: never. Default 50, so that
	// a lie is found within two months of nightly backups, for 2 % more reading.
	CheckOneIn *int `yaml:"check_one_in"`

	// Synthetic are the machines of a synthetic source.
	Synthetic *Synthetic `yaml:"synthetic"`

	// Every is how often the source is listed. Default 5m.
	Every  Duration     `yaml:"every"`
	Limits SourceLimits `yaml:"limits"`
	// Bandwidth of what is read of it. Default: no limit.
	Bandwidth Bandwidth `yaml:"bandwidth"`
}

// SourceLimits protect a source from us. The scheduler keeps them over all
// exporters: it grants no lease that would pass one.
type SourceLimits struct {
	// Snapshots open at once in the whole source. Each grows while its machine
	// writes, and its removal stuns the machine. Default 4, of a vCenter 32.
	Snapshots int `yaml:"snapshots"`
	// PerHost is how many snapshots may be open of machines on one host, whose
	// NFC buffers they share (48 requests of 1 MB). Default of a vCenter 8.
	PerHost int `yaml:"per_host"`
	// PerDatastore is how many may be open of machines with a disk on one
	// datastore, which their deltas fill and their removal loads. Default of a
	// vCenter 4.
	PerDatastore int `yaml:"per_datastore"`
	// Connections read at once. A backup reads one disk after another and so has
	// one, until all is read; its snapshot stays longer. A vCenter bears 52 of
	// NFC, also for other tools. Default of a vCenter 16.
	Connections int `yaml:"connections"`
	// Latency is how slow its storage may answer before we step back.
	Latency SourceLatency `yaml:"latency"`
}

// SourceLatency protects those who work on the source's storage from us. What is
// measured is a read of at most 1 MiB, by datastore where the source has some; with
// many readers it is what they cost each other, too. As other houses have it, there
// are two steps, and none by default: what is slow differs from house to house.
type SourceLatency struct {
	// Hold: while reads take longer, no new lease is granted there. Such as 20ms.
	Hold Duration `yaml:"hold"`
	// Slow: while they take longer, each process has fewer reads at once, down to
	// one. Such as 30ms.
	Slow Duration `yaml:"slow"`
}

// CheckEvery is CheckOneIn as a number: 0 is never.
func (s *Source) CheckEvery() uint32 {
	if s.CheckOneIn == nil {
		return 0
	}
	return uint32(*s.CheckOneIn)
}

func (s *Source) fill() {
	s.Every = cmp.Or(s.Every, Duration(5*time.Minute))
	if s.Synthetic != nil {
		s.Synthetic.fill()
	}
	l := &s.Limits
	if s.Kind != "vsphere" {
		l.Snapshots = cmp.Or(l.Snapshots, 4)
		return
	}
	s.Transport = cmp.Or(s.Transport, "auto")
	l.Snapshots, l.PerHost, l.PerDatastore = cmp.Or(l.Snapshots, 32), cmp.Or(l.PerHost, 8), cmp.Or(l.PerDatastore, 4)
	l.Connections = cmp.Or(l.Connections, 16)
	if s.CheckOneIn == nil {
		n := 50
		s.CheckOneIn = &n
	}
}

// paths are the files and folders that it names.
func (s *Source) paths() []*string {
	all := []*string{&s.Path, &s.PasswordFile, &s.CAFile}
	if s.Synthetic != nil {
		all = append(all, &s.Synthetic.VersionFile)
	}
	return all
}
