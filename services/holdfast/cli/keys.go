package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "The vault's keys: without them no backup can be read",
		Example: "  holdfast keys show\n  holdfast keys paper > paper.txt"}
	c.AddCommand(
		&cobra.Command{Use: "init", Short: "Make keys and vault, where there are none", Args: cobra.NoArgs,
			Example: "  holdfast keys init --config /etc/holdfast.yaml\n  holdfast keys init",
			RunE: func(c *cobra.Command, _ []string) error {
				cfg, err := conf.Load(a.configPath())
				if err != nil {
					return err
				}
				return up.FirstKeys(c.Context(), cfg, a.err)
			}},
		&cobra.Command{Use: "show", Short: "Which keys are here, and whether they are the vault's", Args: cobra.NoArgs,
			Example: "  holdfast keys show\n  holdfast keys show -o json", RunE: func(c *cobra.Command, _ []string) error { return a.showKeys(c.Context()) }},
		&cobra.Command{Use: "paper", Short: "Print the wrapped keys, to be kept on paper; the passphrase is not on it", Args: cobra.NoArgs,
			Example: "  holdfast keys paper\n  holdfast keys paper > paper.txt", RunE: func(c *cobra.Command, _ []string) error { return a.paper(c.Context()) }},
	)
	return c
}

func (a *app) openVault(ctx context.Context) (*conf.Config, *vault.Vault, error) {
	cfg, err := conf.Load(a.configPath())
	if err != nil {
		return nil, nil, err
	}
	targets, err := house.Targets(cfg)
	if err != nil {
		return nil, nil, err
	}
	v, err := vault.Open(ctx, targets)
	return cfg, v, err
}

func (a *app) showKeys(ctx context.Context) error {
	cfg, v, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{}
	list := []any{}
	for _, k := range []struct {
		file string
		part vault.Part
	}{{vault.NameFile, vault.NameKey}, {vault.DigestFile, vault.DigestKey}, {vault.MapFile, vault.MapKey}, {vault.PublicFile, vault.PublicKey}} {
		state := "here"
		if _, err := vault.LoadRing(cfg.Keys.Dir, k.part); os.IsNotExist(err) {
			state = "not here"
		} else if err != nil {
			state = err.Error()
		}
		rows = append(rows, []string{filepath.Join(cfg.Keys.Dir, k.file), state})
		list = append(list, map[string]any{"file": filepath.Join(cfg.Keys.Dir, k.file), "state": state})
	}
	wrapped, err := v.ListSmall(ctx, vault.KeysDir)
	if err != nil {
		return err
	}
	state := "no passphrase file is configured"
	if cfg.Keys.PassphraseFile != "" {
		state = a.tryPassphrase(ctx, cfg, v)
	}
	for _, w := range wrapped {
		rows = append(rows, []string{"vault " + v.Name + ", " + w, state})
		list = append(list, map[string]any{"object": w, "state": state})
	}
	return a.table(map[string]any{"keys": list}, []string{"KEY", "STATE"}, rows)
}

func (a *app) tryPassphrase(ctx context.Context, cfg *conf.Config, v *vault.Vault) string {
	pass, err := house.Passphrase(cfg.Keys.PassphraseFile)
	if err != nil {
		return err.Error()
	}
	ring, err := house.OpenKeys(ctx, v, pass)
	if err != nil {
		return err.Error()
	}
	if ours, err := vault.LoadRing(cfg.Keys.Dir); err == nil && ours.Fingerprint() != ring.Fingerprint() {
		return "the key files are of another vault: " + ours.Fingerprint() + ", not " + ring.Fingerprint()
	}
	return "opens with the passphrase; " + ring.Fingerprint()
}

func (a *app) paper(ctx context.Context) error {
	_, v, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	names, err := v.ListSmall(ctx, vault.KeysDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := v.Small(ctx, name)
		if err != nil {
			return err
		}
		w, err := vault.ParseWrapped(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		text, err := vault.Paper(w.Object())
		if err != nil {
			return err
		}
		fmt.Fprint(a.out, text)
	}
	return nil
}
