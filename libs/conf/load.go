package conf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
)

// Load reads path, fills the defaults and checks what can be checked without
// opening anything. The error is a Findings where the file is read but wrong.
// Relative paths in the file are taken from its folder.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load for bytes that were read from path.
func Parse(path string, b []byte) (*Config, error) {
	c := &Config{file: path, text: b}
	if err := decode(b, c); err != nil {
		return nil, Findings{found(path, err)}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("folder of %s: %w", path, err)
	}
	c.fill()
	c.anchor(dir)
	if bad := c.check(); len(bad) > 0 {
		for i := range bad {
			bad[i].File, bad[i].Line = path, line(b, bad[i].Path)
		}
		return nil, bad
	}
	return c, nil
}

// Section decodes the stage's own section over the defaults that are already in
// v. A stage without a section keeps them. The error is a Findings where the section
// is wrong.
func (c *Config) Section(stage string, v any) error {
	sec, ok := c.Stages[stage]
	if !ok || sec == nil {
		return nil
	}
	b, err := yaml.Marshal(sec)
	if err != nil {
		return fmt.Errorf("stages.%s: %w", stage, err)
	}
	if err := decode(b, v); err != nil {
		return Findings{c.foundIn("stages."+stage, found("", err))}
	}
	return nil
}

// foundIn places what was found wrong in a section that was decoded by itself, whose
// lines are not the file's.
func (c *Config) foundIn(path string, f Finding) Finding {
	at := path
	if f.Path != "" {
		path, at = path+"."+f.Path, path+"."+f.Path
	} else if name, ok := unknownField(f.Message); ok {
		at += "." + name
	}
	return Finding{File: c.file, Line: line(c.text, at), Path: path, Message: f.Message}
}

// Find is a Finding of this file: path is the key, such as kafka.brokers.
func (c *Config) Find(path, message string) Finding {
	return Finding{File: c.file, Line: line(c.text, path), Path: path, Message: message}
}

func decode(b []byte, v any) error {
	err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(v)
	if errors.Is(err, io.EOF) {
		return nil // an empty file is all defaults
	}
	return err
}

func (c *Config) fill() {
	if len(c.Regions) == 0 {
		c.Region = cmp.Or(c.Region, "local")
	}
	c.Grace = cmp.Or(c.Grace, Duration(30*time.Second))
	for i := range c.Staging {
		s := &c.Staging[i]
		s.Size, s.Window = cmp.Or(s.Size, 2<<30), cmp.Or(s.Window, 512<<20)
	}
	if c.Sealed.Share == "" && len(c.Staging) > 0 {
		c.Sealed.Share = filepath.Join(c.Staging[0].Share, "sealed")
	}
	c.Sealed.Reserve = cmp.Or(c.Sealed.Reserve, 2<<30)
	c.Vault.Name = cmp.Or(c.Vault.Name, c.Region, c.Home())
	c.Vault.Grid = cmp.Or(c.Vault.Grid, 64<<10)
	c.Vault.Compression = cmp.Or(c.Vault.Compression, "zstd-fastest")
	for i := range c.Vault.Targets {
		c.Vault.Targets[i].fill()
	}
	for i := range c.Sources {
		c.Sources[i].fill()
	}
	c.Traces.Share = cmp.Or(c.Traces.Share, 0.01)
	c.Ledger.KeepPlaces = cmp.Or(c.Ledger.KeepPlaces, Duration(7*24*time.Hour))
}

// anchor makes the file's paths absolute.
func (c *Config) anchor(dir string) {
	paths := []*string{&c.Data, &c.Sealed.Share, &c.Keys.Dir, &c.Keys.PassphraseFile, &c.Ledger.PasswordFile}
	for i := range c.Staging {
		paths = append(paths, &c.Staging[i].Share)
	}
	for i := range c.Vault.Targets {
		paths = append(paths, c.Vault.Targets[i].paths()...)
	}
	for i := range c.Sources {
		paths = append(paths, c.Sources[i].paths()...)
	}
	for i := range c.Restore.Roots {
		paths = append(paths, &c.Restore.Roots[i])
	}
	if t := c.Kafka.TLS; t != nil {
		paths = append(paths, &t.CAFile, &t.CertFile, &t.KeyFile)
	}
	if s := c.Kafka.SASL; s != nil {
		paths = append(paths, &s.PasswordFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
