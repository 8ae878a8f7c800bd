package vault

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/libs/cut"
	"github.com/holdfast-backup/holdfast/libs/seal"
	"github.com/holdfast-backup/holdfast/libs/shard"
)

// Settings are fixed when a vault is made: every object in it was written under them.
type Settings struct {
	Name   string `json:"name"`
	Region string `json:"region"` // the one that may write and delete here
	// GridBytes is the length of a place of a disk.
	GridBytes uint32 `json:"grid_bytes"`
	// Compression of new packs. Frames say how they are packed, so readers don't ask.
	Compression string `json:"compression"`
	// K of the K+M shards of a pack give it back.
	K int `json:"k"`
	M int `json:"m"`
}

// N is the number of targets.
func (s Settings) N() int { return s.K + s.M }

// Quorum is how many shards must be durable before a pack is said to be: one
// more than a reader needs, where there are that many, so that the loss of any
// one target between landing and mending loses nothing.
func (s Settings) Quorum() int { return min(s.K+1, s.K+s.M) }

// Copies is on how many targets a whole object lies at least. With it, the K
// that a reader asks always hold one: M+1+K > N.
func (s Settings) Copies() int { return s.M + 1 }

// Check says what is wrong with s.
func (s Settings) Check() error {
	if s.Name == "" || s.Region == "" {
		return fmt.Errorf("vault %q of region %q: both want a name", s.Name, s.Region)
	}
	if err := cut.CheckGrid(s.GridBytes); err != nil {
		return fmt.Errorf("vault %s: %w", s.Name, err)
	}
	if !slices.Contains(seal.Methods, seal.Method(s.Compression)) {
		return fmt.Errorf("vault %s: compression %q: want one of %v", s.Name, s.Compression, seal.Methods)
	}
	if _, err := shard.New(s.K, s.M); err != nil {
		return fmt.Errorf("vault %s: %w", s.Name, err)
	}
	return nil
}

const (
	// settingsKey is the one object that differs between targets: it says which of them it is on.
	settingsKey    = "vault.json"
	settingsFormat = 1
)

// settingsFile is vault.json.
type settingsFile struct {
	Format int    `json:"format"`
	ID     string `json:"id"` // 32 hex digits, drawn at Init: two vaults of one name still differ
	Settings
	Targets []string `json:"targets"` // shard n lies on the n-th
	Target  string   `json:"target"`  // the one that this file is on
}

func (f settingsFile) encode() []byte {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("vault: encode %s: %v", settingsKey, err)) // strings and numbers
	}
	return append(b, '\n')
}

// parseSettings lets unknown fields pass: fields are only added, and a change of
// meaning is another format.
func parseSettings(b []byte) (f settingsFile, err error) {
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%s: %w: %w", settingsKey, ErrDamaged, err)
	}
	if f.Format != settingsFormat {
		return f, fmt.Errorf("%s of format %d: this program knows %d", settingsKey, f.Format, settingsFormat)
	}
	if err := f.Check(); err != nil {
		return f, fmt.Errorf("%s: %w", settingsKey, err)
	}
	if f.ID == "" || len(f.Targets) != f.N() || f.no() < 0 {
		return f, fmt.Errorf("%s: %w: %d+%d shards, targets %q, of them %q", settingsKey, ErrDamaged, f.K, f.M, f.Targets, f.Target)
	}
	return f, nil
}

// no is which shard the target holds.
func (f settingsFile) no() int { return slices.Index(f.Targets, f.Target) }

// same reports whether f and g are of one vault, on whatever targets of it.
func (f settingsFile) same(g settingsFile) bool {
	return f.ID == g.ID && f.Settings == g.Settings && slices.Equal(f.Targets, g.Targets)
}

func (f settingsFile) String() string {
	return fmt.Sprintf("vault %s (%.8s) of region %s, %d+%d shards of a grid of %d", f.Name, f.ID, f.Region, f.K, f.M, f.GridBytes)
}
