package house

import (
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/auditor"
	"github.com/holdfast-backup/holdfast/services/chunker"
	"github.com/holdfast-backup/holdfast/services/collector"
	sealer "github.com/holdfast-backup/holdfast/services/compressor-encryptor"
	"github.com/holdfast-backup/holdfast/services/deduper"
	"github.com/holdfast-backup/holdfast/services/exporter"
	"github.com/holdfast-backup/holdfast/services/restorer"
	"github.com/holdfast-backup/holdfast/services/scheduler"
	"github.com/holdfast-backup/holdfast/services/uploader"
)

// Service is one process's worth of stages, under the name that --stages takes.
type Service struct {
	Name string
	Why  string
	open func(*Parts) ([]stage.Stage, error)
}

// Open makes the stages of a service, and of parts what they need.
func (s Service) Open(p *Parts) ([]stage.Stage, error) { return s.open(p) }

// Catalogue lists every service, in the order of a backup's walk.
var Catalogue = []Service{
	{"scheduler", "takes orders, and decides which machine is leased when", openScheduler},
	{"exporter", "reads machines into staging, and ends what it began at a source", openExporter},
	{"chunker", "names the chunks of each extent", openChunker},
	{"deduper", "knows which chunks the vault has", openDeduper},
	{"compressor-encryptor", "packs what the vault lacks", openSealer},
	{"uploader", "makes packs durable on the targets", openUploader},
	{"auditor", "judges each backup, and writes its point", openAuditor},
	{"recorder", "writes the ledger", openRecorder},
	{"restorer", "brings points back", openRestorer},
	{"collector", "keeps the order of epochs", openCollector},
}

// Named returns the services of these names, in the catalogue's order; "all" is all.
func Named(names []string) ([]Service, error) {
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	var found []Service
	for _, s := range Catalogue {
		if want[s.Name] || want["all"] {
			found = append(found, s)
		}
		delete(want, s.Name)
	}
	delete(want, "all")
	for n := range want {
		return nil, fmt.Errorf("there is no stage %q; there are %v", n, Names())
	}
	return found, nil
}

// Names lists the catalogue.
func Names() (names []string) {
	for _, s := range Catalogue {
		names = append(names, s.Name)
	}
	return names
}

// section decodes a stage's own settings over its defaults.
func section[C any](p *Parts, name string, c C) (C, error) {
	err := p.Conf.Section(name, &c)
	return c, err
}

func one(s stage.Stage) []stage.Stage { return []stage.Stage{s} }

func openScheduler(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "scheduler", scheduler.Default())
	if err != nil {
		return nil, err
	}
	c.Vault, c.Dues = p.Conf.Vault.Name, p.dues
	c.Gauge = p.gaugeOf
	return []stage.Stage{scheduler.Intake(c), scheduler.Stage(c)}, nil
}

func openExporter(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "exporter", exporterDefault())
	if err != nil {
		return nil, err
	}
	share, err := p.staging()
	if err != nil {
		return nil, err
	}
	sources, err := p.sources()
	if err != nil {
		return nil, err
	}
	ring, err := p.ring(vault.DigestKey)
	if err != nil {
		return nil, err
	}
	limits := p.limiters("source", sourcePlans(p.Conf))
	d := exporter.Deps{Sources: map[string]exporter.Provider{}, DigestKey: ring.Digest, Grid: uint32(p.Conf.Vault.Grid),
		Rooms: rate.NewRooms("exporter", 1, limits.all()...), Gauge: p.gaugeOf}
	for _, s := range p.Conf.Sources {
		d.Sources[s.Name] = exporter.Provider{Source: sources[s.Name], Share: share, ShareBytes: uint64(p.Conf.Staging[0].Part(len(p.Conf.Sources))),
			WindowBytes: uint64(p.Conf.Staging[0].Window), Every: time.Duration(s.Every), CheckOneIn: s.CheckEvery(), Limit: limits[s.Name], Limits: exporter.Limits{
				Hold: time.Duration(s.Limits.Latency.Hold), Slow: time.Duration(s.Limits.Latency.Slow),
				Snapshots: uint32(s.Limits.Snapshots), PerHost: uint32(s.Limits.PerHost),
				PerDatastore: uint32(s.Limits.PerDatastore), Connections: uint32(s.Limits.Connections)}}
	}
	return one(exporter.Stage(c, d)), nil
}

func openChunker(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "chunker", chunker.Default())
	if err != nil {
		return nil, err
	}
	share, err := p.staging()
	if err != nil {
		return nil, err
	}
	ring, err := p.ring(vault.NameKey)
	if err != nil {
		return nil, err
	}
	return one(chunker.Stage(c, chunker.Deps{Staging: share, NameKey: ring.Name})), nil
}

func openDeduper(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "deduper", deduper.Default())
	if err != nil {
		return nil, err
	}
	dir, err := p.dir("index")
	if err != nil {
		return nil, err
	}
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	ring, err := p.ring(vault.MapKey)
	if err != nil {
		return nil, err
	}
	r, err := p.reader(ring)
	if err != nil {
		return nil, err
	}
	return one(deduper.Stage(c, deduper.Deps{Dir: dir, Tables: packTables{v, r}, Gauge: p.gauge})), nil
}

func openSealer(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "compressor-encryptor", sealer.Default())
	if err != nil {
		return nil, err
	}
	share, err := p.staging()
	if err != nil {
		return nil, err
	}
	sealed, err := p.sealed()
	if err != nil {
		return nil, err
	}
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	ring, err := p.ring(vault.NameKey, vault.MapKey, vault.PublicKey)
	if err != nil {
		return nil, err
	}
	return one(sealer.Stage(c, sealer.Deps{Staging: share, Sealed: sealed, Ring: ring, Codec: seal.Method(v.Compression), Shards: v.K})), nil
}

func openUploader(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "uploader", uploaderDefault())
	if err != nil {
		return nil, err
	}
	sealed, err := p.sealed()
	if err != nil {
		return nil, err
	}
	w, err := p.writer()
	if err != nil {
		return nil, err
	}
	return one(uploader.Stage(c, uploader.Deps{Sealed: sealed, Writer: w, Rooms: rate.NewRooms("uploader", uploaderPart, p.paced().all()...)})), nil
}

func openAuditor(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "auditor", auditor.Default())
	if err != nil {
		return nil, err
	}
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	w, err := p.writer()
	if err != nil {
		return nil, err
	}
	ring, err := p.ring(vault.MapKey)
	if err != nil {
		return nil, err
	}
	r, err := p.reader(ring)
	if err != nil {
		return nil, err
	}
	return one(auditor.Stage(c, auditor.Deps{Vault: v, Writer: w, Reader: r, MapKey: ring.Map, Lied: p.lied,
		Rooms: rate.NewRooms("auditor", auditorPart, p.paced().all()...)})), nil
}

func openRestorer(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "restorer", restorer.Default())
	if err != nil {
		return nil, err
	}
	ring, err := p.private()
	if err != nil {
		return nil, err
	}
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	r, err := p.reader(ring)
	if err != nil {
		return nil, err
	}
	sources, err := p.destinations()
	if err != nil {
		return nil, err
	}
	return one(restorer.Stage(c, restorer.Deps{Vault: v, Reader: r, Roots: p.Conf.Restore.Roots, Sources: sources, Alone: p.alone})), nil
}

func openCollector(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "collector", collector.Default())
	if err != nil {
		return nil, err
	}
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	return one(collector.Stage(c, collector.Deps{Vault: v})), nil
}

// Without returns services but for one.
func Without(services []Service, name string) (rest []Service) {
	for _, s := range services {
		if s.Name != name {
			rest = append(rest, s)
		}
	}
	return rest
}
