// Package conf is the one configuration of the house: one YAML file, strict.
//
// A field that is not here is an error, because a typo must not become a
// default. Defaults stand beside the fields they fill. Secrets are files:
// nothing secret is ever in this one.
package conf

// Config is the whole file. Every process of a region may read the same one and
// uses the sections of the stages that it runs.
type Config struct {
	// Region names the unit of isolation: its topics are <region>.<name>.
	// Letters, digits, '-' and '_', at most 63. Default: local, or none where regions
	// stand: then no stage of one region runs by this file.
	Region string `yaml:"region"`
	// Regions are those that a coordinator serves, names or globs (eu-*, *): the scheduler
	// takes orders for all of them, also for one that comes while it runs. The first is a
	// name: that of the region where the coordinator says what nobody else can say, and
	// keeps its place in the requests. Default: the region alone.
	Regions []string `yaml:"regions"`
	// Data is where this process keeps what it can rebuild: indexes, logs, ids.
	Data string `yaml:"data"`

	// Grace is how long a stop may take: what is in flight is let end, and the rest
	// is done again at the next start. Default 30s, which orchestrators give, too; an
	// idle machine needs one. The least is 1s.
	Grace Duration `yaml:"grace"`

	Kafka   Kafka          `yaml:"kafka"`
	Staging []Staging      `yaml:"staging"`
	Sealed  Sealed         `yaml:"sealed"`
	Vault   Vault          `yaml:"vault"`
	Keys    Keys           `yaml:"keys"`
	Sources []Source       `yaml:"sources"`
	Limits  Limits         `yaml:"limits"`
	Ledger  Ledger         `yaml:"ledger"`
	Restore Restore        `yaml:"restore"`
	Metrics Metrics        `yaml:"metrics"`
	Traces  Traces         `yaml:"traces"`
	Stages  map[string]any `yaml:"stages"` // each stage decodes its own, strictly: see Section

	file string // where it was read from, for what is found wrong later
	text []byte
}

// Kafka is how to reach the brokers.
type Kafka struct {
	// Brokers are host:port seeds. Required for run; up has its own broker.
	Brokers []string `yaml:"brokers"`
	TLS     *TLS     `yaml:"tls"`
	SASL    *SASL    `yaml:"sasl"`
}

// TLS is the client's side: a CA to trust, and a certificate of our own.
type TLS struct {
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// SASL logs in by SCRAM-SHA-512.
type SASL struct {
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

// Staging is the file share for bytes in flight.
type Staging struct {
	Share string `yaml:"share"`
	// Size is what leases may fill. It is divided among the sources, since each of
	// them is granted slots by itself: region slots of one = size / sources / window.
	// Default 2GiB.
	Size Size `yaml:"size"`
	// Window is the most that one lease has in flight. Default 512MiB.
	Window Size `yaml:"window"`
}

// Part is what each of so many sources may fill of a share.
func (s Staging) Part(sources int) Size { return s.Size / Size(max(1, sources)) }

// Sealed is the area of packs on their way to the targets.
type Sealed struct {
	// Share is a folder, its own or inside a staging share.
	Share string `yaml:"share"`
	// Reserve is what one process may fill before its sealer waits. Default
	// 2GiB: 64 packs held + 2 a sealer, of 16 MiB, doubled.
	Reserve Size `yaml:"reserve"`
}

// Vault is the durable repository of the region.
type Vault struct {
	Name string `yaml:"name"` // default: the region's
	// Grid is the place size of disks, a power of two from 4KiB to 256KiB. Fixed
	// when the vault is made. Default 64KiB.
	Grid Size `yaml:"grid"`
	// Compression is zstd-fastest (default), zstd-default, minlz or none.
	Compression string   `yaml:"compression"`
	Shards      Shards   `yaml:"shards"`
	Targets     []Target `yaml:"targets"` // k+m of them, each on a device of its own
}

// Shards cuts each pack into k+m: any m targets may be lost.
type Shards struct {
	K int `yaml:"k"`
	M int `yaml:"m"`
}

// Keys is where this process finds keys. A stage that needs one that is not
// there refuses to start, so each process is given the files that it needs and
// no others.
type Keys struct {
	// Dir holds name.key, map.key and vault.pub, or some of them.
	Dir string `yaml:"dir"`
	// PassphraseFile opens the private half, which lies wrapped in the vault.
	// Only the restorer and the command line need it.
	PassphraseFile string `yaml:"passphrase_file"`
}

// Limits of the whole process.
type Limits struct {
	// Workers is how many cores a stage may use beside its rooms. Default: all.
	Workers int `yaml:"workers"`
}

// Ledger is a ClickHouse server. Without an address the one-machine mode looks
// for an engine, and run is blind.
type Ledger struct {
	Addr         string   `yaml:"addr"` // native protocol, host:port
	User         string   `yaml:"user"`
	PasswordFile string   `yaml:"password_file"`
	KeepPlaces   Duration `yaml:"keep_places"` // default 7d
}

// Restore bounds where restored bytes may go.
type Restore struct {
	// Roots are the folders below which the service writes. Default: none, and
	// for up <data>/restored.
	Roots []string `yaml:"roots"`
}

// Metrics is where Prometheus and health checks ask.
type Metrics struct {
	// Listen is host:port. Default: nowhere, and for up a loopback port that it keeps.
	Listen string `yaml:"listen"`
}

// Traces sends spans, one for each record handled: all of one request are one trace.
type Traces struct {
	// Endpoint is the URL of an OTLP/HTTP collector, with its path:
	// http://localhost:4318/v1/traces. Default: none, and no spans are made.
	Endpoint string `yaml:"endpoint"`
	// Share of requests that are traced, above 0 and at most 1; a request that comes
	// with a trace context has decided itself. Default 0.01: a backup of 100 GB is 6,000
	// extents, and about ten spans each.
	Share float64 `yaml:"share"`
}
