package house

import (
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/libs/blob"
	"github.com/holdfast-backup/holdfast/libs/blob/file"
	"github.com/holdfast-backup/holdfast/libs/blob/s3"
	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

// Targets opens the stores of the vault. A bucket that does not answer is no
// error: the vault works without it.
func Targets(c *conf.Config) ([]vault.Target, error) {
	if len(c.Vault.Targets) == 0 {
		return nil, errors.New("vault.targets: none is configured")
	}
	return OpenTargets(c.Vault.Targets)
}

// OpenTargets opens stores that need not be a vault's.
func OpenTargets(targets []conf.Target) (all []vault.Target, err error) {
	for _, t := range targets {
		s, err := openTarget(t)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		all = append(all, vault.Target{Name: t.Name, Store: s})
	}
	return all, nil
}

func openTarget(t conf.Target) (blob.Store, error) {
	switch t.Kind {
	case "s3":
		return s3.Open(Bucket(t))
	default:
		return file.Open(t.Path)
	}
}

// Bucket is a target of kind s3 as its store takes it.
func Bucket(t conf.Target) s3.Options {
	d := t.Dialect
	return s3.Options{URL: t.URL, Bucket: t.Bucket, Prefix: t.Prefix, Region: t.Region, AccessKeyFile: t.AccessKeyFile, SecretKeyFile: t.SecretKeyFile,
		CAFile: t.CAFile, Connections: t.Connections, Rate: float64(t.Rate), Dialect: s3.Dialect{Style: d.Style, Checksum: d.Checksum,
			Overwrites: !*d.Conditional, StorageClass: d.StorageClass, SkipAcceptEncoding: !*d.SignAcceptEncoding, ExpectFrom: int64(*d.Expect)}}
}

// watchTargets shows what each bucket is given and what it asked for.
func (p *Parts) watchTargets(all []vault.Target) {
	if p.metrics == nil {
		return
	}
	for _, t := range all {
		s, ok := t.Store.(*s3.Store)
		if !ok {
			continue
		}
		labels := map[string]string{"target": t.Name}
		p.metrics.GaugeOf("holdfast_target_rate", "Calls a second that this process may make to the target now. It is halved when the target says that it is busy.", labels, s.Rate)
		p.metrics.GaugeOf("holdfast_target_slowed", "How often the target said that it is busy, since this process began.", labels,
			func() float64 { return float64(s.Slowed()) })
	}
}

// watchWriter shows which targets this process can write to.
func (p *Parts) watchWriter(w *vault.Writer) {
	if p.metrics == nil {
		return
	}
	for n, t := range w.Turns() {
		p.metrics.GaugeOf("holdfast_target_up", "1 while this process can write to the target.", map[string]string{"target": t.Target}, func() float64 {
			if w.Turns()[n].Up {
				return 1
			}
			return 0
		})
	}
}
