package house

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/images"
	"github.com/holdfast-backup/holdfast/libs/source/synthetic"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
)

// Sources opens the sources of the configuration, which CloseSources ends. It
// connects to none: a vCenter that is down stops no start.
func Sources(c *conf.Config, log *slog.Logger) (map[string]source.Source, error) {
	all := map[string]source.Source{}
	for i := range c.Sources {
		s := &c.Sources[i]
		opened, err := open(s, log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("source %s: %w", s.Name, err), CloseSources(all))
		}
		all[s.Name] = opened
	}
	return all, nil
}

func open(s *conf.Source, log *slog.Logger) (source.Source, error) {
	switch s.Kind {
	case "images":
		return images.Open(s.Path, images.Options{Pre: s.Pre, Post: s.Post})
	case "synthetic":
		y := s.Synthetic
		return synthetic.Open(synthetic.Options{Machines: y.Machines, Size: int64(y.Size), Used: int64(y.Used), Images: y.Images,
			Common: y.Common, Change: y.Change, Alike: y.Alike, Seed: y.Seed, Version: y.Version, File: y.VersionFile}), nil
	}
	return vsphere.Open(vsphere.Options{URL: s.URL, User: s.User, Thumbprint: s.Thumbprint, CAFile: s.CAFile,
		Transport: s.Transport, Log: log.With("source", s.Name), Password: func() (string, error) {
			b, err := Passphrase(s.PasswordFile)
			return string(b), err
		}})
}

// CloseSources logs out of those that have sessions.
func CloseSources(all map[string]source.Source) error {
	var errs []error
	for name, s := range all {
		if c, ok := s.(io.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close source %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// destinations are the sources by name; one that takes no machines back is nil.
// Where there is none that does, none is opened: folders of images need not be in
// reach of who restores.
func (p *Parts) destinations() (map[string]source.Destination, error) {
	to := map[string]source.Destination{}
	open := false
	for _, s := range p.Conf.Sources {
		to[s.Name] = nil
		open = open || s.Kind == "vsphere"
	}
	if !open {
		return to, nil
	}
	all, err := p.sources()
	if err != nil {
		return nil, err
	}
	for name, s := range all {
		if d, ok := s.(source.Destination); ok {
			to[name] = d
		}
	}
	return to, nil
}
