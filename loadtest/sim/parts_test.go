//go:build synctests

package sim

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/index"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/auditor"
	"github.com/holdfast-backup/holdfast/services/chunker"
	"github.com/holdfast-backup/holdfast/services/collector"
	sealer "github.com/holdfast-backup/holdfast/services/compressor-encryptor"
	"github.com/holdfast-backup/holdfast/services/deduper"
	"github.com/holdfast-backup/holdfast/services/exporter"
	"github.com/holdfast-backup/holdfast/services/recorder"
	"github.com/holdfast-backup/holdfast/services/restorer"
	"github.com/holdfast-backup/holdfast/services/scheduler"
	"github.com/holdfast-backup/holdfast/services/uploader"
)

// catalogue lists every stage, in the order of a backup's walk.
var catalogue = []string{"collector", "intake", "scheduler", "exporter", "chunker", "deduper", "compressor-encryptor", "uploader", "auditor", "restorer", "recorder"}

// parts are what the stages of one process are made of, each opened once.
type parts struct {
	p   *process
	w   *world
	ctx context.Context

	vault  *vault.Vault
	writer *vault.Writer
	share  *staging.Share
	area   *staging.Sealed
}

func (a *parts) close() {
	if a.writer != nil {
		a.writer.Close()
	}
}

// prepare opens what the others are made of.
func (a *parts) prepare() (err error) {
	if a.vault == nil {
		if a.vault, err = vault.Open(a.ctx, a.w.lanes(a.p)); err != nil {
			return err
		}
	}
	if a.writer == nil {
		if a.writer, err = vault.NewWriter(a.vault, vault.WriterOptions{Region: region, Now: a.p.now, Log: a.w.log}); err != nil {
			return err
		}
	}
	if a.share == nil {
		if a.share, err = staging.Open(filepath.Join(a.p.dir, "staging"), staging.Options{PoolBytes: windowBytes, Room: a.w.roomInStaging}); err != nil {
			return err
		}
	}
	if a.area == nil {
		a.area, err = staging.OpenSealed(filepath.Join(a.p.dir, "sealed"), sealedReserve)
	}
	return err
}

const (
	grid          = 4 << 10
	extentBytes   = 512 << 10 // two pages
	windowBytes   = 1 << 20   // two extents in flight
	slots         = 2         // of a source, and windows of the share
	sealedReserve = 64 << 20
)

// open makes one stage. Deadlines are shorter than the house's own, so that a
// simulation of minutes sees many of them pass.
func open(a *parts, name string) (s stage.Stage, err error) {
	if err := a.prepare(); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	w := a.w
	reader, err := a.vault.Reader(w.ring)
	if err != nil {
		return s, err
	}
	switch name {
	case "collector":
		return collector.Stage(collector.Config{Every: 20 * time.Second, Retry: 5 * time.Second}, collector.Deps{Vault: a.vault}), nil
	case "intake":
		return scheduler.Intake(w.schedule()), nil
	case "scheduler":
		return scheduler.Stage(w.schedule()), nil
	case "exporter":
		d := exporter.Deps{Sources: map[string]exporter.Provider{}, Grid: grid, DigestKey: w.ring.Digest, ExtentBytes: extentBytes}
		for _, s := range w.sites {
			d.Sources[s.name] = exporter.Provider{Source: desk{s, a.p}, Share: a.share, ShareBytes: slots * windowBytes, WindowBytes: windowBytes,
				Limits: exporter.Limits{Snapshots: uint32(s.limit)}, Every: 30 * time.Second}
		}
		return exporter.Stage(exporter.Config{Readers: 8, Hunt: conf.Duration(w.hunt())}, d), nil
	case "chunker":
		return chunker.Stage(chunker.Config{}, chunker.Deps{Staging: a.share, NameKey: w.ring.Name}), nil
	case "deduper":
		return deduper.Stage(deduper.Config{Cache: index.CacheMin, Flush: conf.Duration(30 * time.Second)},
			deduper.Deps{Dir: filepath.Join(w.dir, a.p.post.name+".index"), Tables: tables{a.vault, reader}}), nil
	case "compressor-encryptor":
		return sealer.Stage(sealer.Config{Workers: 1}, sealer.Deps{Staging: a.share, Sealed: a.area, Ring: w.ring, Codec: w.codec}), nil
	case "uploader":
		return uploader.Stage(uploader.Default(), uploader.Deps{Sealed: a.area, Writer: a.writer}), nil
	case "auditor":
		return auditor.Stage(auditor.Default(), auditor.Deps{Vault: a.vault, Writer: a.writer, Reader: reader, MapKey: w.ring.Map}), nil
	case "restorer":
		return restorer.Stage(restorer.Default(), restorer.Deps{Vault: a.vault, Reader: reader, Roots: []string{w.dir}, Sources: map[string]source.Destination{}}), nil
	case "recorder":
		return recorder.Stage(recorder.Default(), recorder.Deps{Ledger: w.ledger, Vault: vaultName}), nil
	}
	return s, fmt.Errorf("there is no stage %q", name)
}

// hunt is how often what nobody knows is hunted. Where nobody speaks out of turn,
// nothing is left for a hunter, and there is none.
func (w *world) hunt() time.Duration {
	if w.zombies() {
		return time.Minute
	}
	return 1000 * time.Hour
}

// schedule is the scheduler's configuration.
func (w *world) schedule() scheduler.Config {
	return scheduler.Config{Limits: scheduler.Limits{Silence: w.silence, Cap: time.Hour, Retell: 30 * time.Second, Attempts: 5}, Listing: time.Minute}
}

// tables is what an index is rebuilt from when its log and its store are gone.
type tables struct {
	v *vault.Vault
	r *vault.Reader
}

func (t tables) Packs(ctx context.Context) iter.Seq2[vault.PackID, error] {
	return func(yield func(vault.PackID, error) bool) {
		l := t.v.Packs(false)
		for p := range l.All(ctx) {
			if p.Sound() >= t.v.Quorum() && !yield(p.ID, nil) {
				return
			}
		}
		if err := l.Err(); err != nil {
			yield(vault.PackID{}, err)
		}
	}
}

func (t tables) Table(ctx context.Context, id vault.PackID) ([]vault.Entry, error) {
	return t.r.PackTable(ctx, id)
}
