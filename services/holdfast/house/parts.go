package house

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/staging"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/libs/watch"
)

// Parts are what stages are made of, each opened once, when the first stage asks
// for it: a process opens only what its stages need, and needs only their keys.
type Parts struct {
	Conf *conf.Config
	Log  *slog.Logger

	ctx     context.Context
	ends    []func()       // of what was opened, in that order
	metrics *watch.Metrics // of the process that runs; nil: none
	kafka   stage.Reach    // of the process that runs; nil: none
	targets func() ([]vault.Target, error)
	vault   func() (*vault.Vault, error)
	writer  func() (*vault.Writer, error)
	staging func() (*staging.Share, error)
	sealed  func() (*staging.Sealed, error)
	private func() (*vault.Ring, error)
	ledger  func() (*ledger.Ledger, error)
	sources func() (map[string]source.Source, error)
	paced   func() limiters // targets
}

// NewParts opens nothing. ctx bounds the opening of parts, not their life.
func NewParts(ctx context.Context, c *conf.Config, log *slog.Logger) *Parts {
	p := &Parts{Conf: c, Log: log, ctx: ctx}
	p.targets = sync.OnceValues(func() ([]vault.Target, error) { return Targets(c) })
	p.paced = sync.OnceValue(func() limiters { return p.limiters("target", targetPlans(c)) })
	p.vault = sync.OnceValues(p.openVault)
	p.writer = sync.OnceValues(p.openWriter)
	p.staging = sync.OnceValues(func() (*staging.Share, error) {
		if len(c.Staging) == 0 {
			return nil, errors.New("staging: no share is configured")
		}
		return staging.Open(c.Staging[0].Share, staging.Options{PoolBytes: int64(c.Staging[0].Window)})
	})
	p.sealed = sync.OnceValues(func() (*staging.Sealed, error) {
		if c.Sealed.Share == "" {
			return nil, errors.New("sealed.share: no folder is configured")
		}
		return staging.OpenSealed(c.Sealed.Share, int64(c.Sealed.Reserve))
	})
	p.private = sync.OnceValues(p.openPrivate)
	p.ledger = sync.OnceValues(p.openLedger)
	p.sources = sync.OnceValues(func() (map[string]source.Source, error) {
		all, err := Sources(c, log)
		p.ends = append(p.ends, func() {
			if err := CloseSources(all); err != nil {
				log.Warn("close sources", "err", err)
			}
		})
		return all, err
	})
	return p
}

// Unlocked hands over a whole ring that was opened already, which else costs most of
// a second. nil changes nothing. Call it before any stage is opened.
func (p *Parts) Unlocked(ring *vault.Ring) {
	if ring != nil {
		p.private = func() (*vault.Ring, error) { return ring, nil }
	}
}

// gauge registers a limit's gauge with the process that runs.
func (p *Parts) gauge(name, help string, value func() float64) {
	if p.metrics != nil {
		p.metrics.Gauge(name, help, value)
	}
}

// gaugeOf is gauge for one of several that share a name.
func (p *Parts) gaugeOf(name, help string, labels map[string]string, value func() float64) {
	if p.metrics != nil {
		p.metrics.GaugeOf(name, help, labels, value)
	}
}

// Close ends what lives on its own, of what was opened: a process that has no
// writer must not look for a vault to stop.
func (p *Parts) Close() {
	for _, end := range slices.Backward(p.ends) {
		end()
	}
}

func (p *Parts) dues(outcome string, n int) {
	if p.metrics != nil {
		p.metrics.Dues.WithLabelValues(outcome).Add(float64(n))
	}
}

func (p *Parts) lied(source string, places uint64) {
	if p.metrics != nil {
		p.metrics.Lied.WithLabelValues(source).Add(float64(places))
	}
}

// Settings are the vault's, as the configuration wants them.
func Settings(c *conf.Config) vault.Settings {
	return vault.Settings{Name: c.Vault.Name, Region: c.Region, GridBytes: uint32(c.Vault.Grid),
		Compression: c.Vault.Compression, K: c.Vault.Shards.K, M: c.Vault.Shards.M}
}

func (p *Parts) openVault() (*vault.Vault, error) {
	targets, err := p.targets()
	if err != nil {
		return nil, err
	}
	p.watchTargets(targets)
	v, err := vault.Open(p.ctx, targets)
	if errors.Is(err, vault.ErrNoVault) {
		return nil, fmt.Errorf("%w; make one with: holdfast init", err)
	}
	if err != nil {
		return nil, err
	}
	if want := Settings(p.Conf); v.Settings.GridBytes != want.GridBytes || v.K != want.K || v.M != want.M || v.Name != want.Name || v.Region != want.Region {
		return nil, fmt.Errorf("the vault there is %+v and the configuration says %+v: these are fixed when a vault is made", v.Settings, want)
	}
	return v, nil
}

func (p *Parts) openWriter() (*vault.Writer, error) {
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	w, err := vault.NewWriter(v, vault.WriterOptions{Region: p.Conf.Region, Log: p.Log, Limits: p.paced()})
	if err == nil {
		p.watchWriter(w)
		p.ends = append(p.ends, w.Close)
	}
	return w, err
}

// ring holds the keys named, and no others.
func (p *Parts) ring(need ...vault.Part) (*vault.Ring, error) {
	if p.Conf.Keys.Dir == "" {
		return nil, errors.New("keys.dir: no folder of keys is configured")
	}
	return vault.LoadRing(p.Conf.Keys.Dir, need...)
}

func (p *Parts) reader(ring *vault.Ring) (*vault.Reader, error) {
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	return v.Reader(ring)
}

// openPrivate opens the whole ring with the passphrase. Of several wrapped
// rings in the vault one must open.
func (p *Parts) openPrivate() (*vault.Ring, error) {
	v, err := p.vault()
	if err != nil {
		return nil, err
	}
	if p.Conf.Keys.PassphraseFile == "" {
		return nil, errors.New("keys.passphrase_file: none is configured, and without the passphrase nothing can be read")
	}
	pass, err := Passphrase(p.Conf.Keys.PassphraseFile)
	if err != nil {
		return nil, err
	}
	return OpenKeys(p.ctx, v, pass)
}

// Passphrase reads a passphrase from a file, without its line's end.
func Passphrase(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return nil, fmt.Errorf("passphrase: %s is empty", path)
	}
	return []byte(s), nil
}

// OpenKeys opens the ring that lies wrapped in a vault.
func OpenKeys(ctx context.Context, v *vault.Vault, pass []byte) (*vault.Ring, error) {
	names, err := v.ListSmall(ctx, vault.KeysDir)
	if err != nil {
		return nil, fmt.Errorf("keys of vault %s: %w", v, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("vault %s holds no wrapped keys: without a copy of them (keys paper) it can't be read", v)
	}
	var errs []error
	for _, name := range names {
		b, err := v.SmallSound(ctx, name, func(b []byte) error { _, err := vault.ParseWrapped(b); return err })
		if err == nil {
			var ring *vault.Ring
			if ring, err = vault.Unwrap(b, pass); err == nil {
				return ring, nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return nil, fmt.Errorf("keys of vault %s: %w", v, errors.Join(errs...))
}

// dir is a folder of this process's own below data, made if it is not there.
func (p *Parts) dir(name string) (string, error) {
	if p.Conf.Data == "" {
		return "", errors.New("data: no folder is configured for what this process keeps")
	}
	dir := filepath.Join(p.Conf.Data, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// worker names this process in stamps and logs.
func worker() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprint(host, "/", os.Getpid())
}
