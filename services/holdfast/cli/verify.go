package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func (a *app) verifyCommand() *cobra.Command {
	var deep bool
	c := &cobra.Command{
		Use:     "verify [POINT]",
		Short:   "Look for every shard of every point; with --deep read and check each",
		Example: "  holdfast verify\n  holdfast verify web-01 --deep",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, v, err := a.openVault(c.Context())
			if err != nil {
				return err
			}
			ring, err := vault.LoadRing(cfg.Keys.Dir, vault.MapKey)
			if deep && err == nil {
				var pass []byte
				if pass, err = house.Passphrase(cfg.Keys.PassphraseFile); err == nil {
					ring, err = house.OpenKeys(c.Context(), v, pass)
				}
			}
			if err != nil {
				return err
			}
			r, err := v.Reader(ring)
			if err != nil {
				return err
			}
			return a.verify(c.Context(), r, args, deep)
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "read and check every byte; needs the passphrase")
	return c
}

func (a *app) verify(ctx context.Context, r *vault.Reader, names []string, deep bool) error {
	paths, err := r.Points(ctx)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		all, _, err := points(ctx, r)
		if err != nil {
			return err
		}
		p, err := pick(all, names[0])
		if err != nil {
			return err
		}
		paths = []string{p.Path}
	}
	found, err := r.Verify(ctx, paths, deep)
	if err != nil {
		return err
	}
	var rows [][]string
	add := func(kind string, all []vault.Problem) {
		for _, p := range all {
			rows = append(rows, []string{kind, p.Object, fmt.Sprint(p.Shard), p.Target, p.Why})
		}
	}
	add("lost", found.Lost)
	add("damaged", found.Damaged)
	add("missing", found.Missing)
	v := map[string]any{"points": found.Points, "packs": found.Packs, "mapPacks": found.MapPacks, "shards": found.Shards, "whole": found.Whole(),
		"lost": append([]vault.Problem{}, found.Lost...), "damaged": append([]vault.Problem{}, found.Damaged...), "missing": append([]vault.Problem{}, found.Missing...)}
	if err := a.table(v, []string{"STATE", "OBJECT", "SHARD", "TARGET", "WHY"}, rows); err != nil {
		return err
	}
	a.say("%d points, %d packs, %d map packs: %d of %d shards are there", found.Points, found.Packs, found.MapPacks,
		found.Shards-len(found.Missing)-len(found.Damaged), found.Shards)
	if !found.Whole() {
		return quiet(exitFailed)
	}
	return nil
}
