package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
)

// point is a recovery point as people see it.
type point struct {
	Path        string              `json:"point"`
	Machine     schemas.MachineRef  `json:"machine"`
	Backup      string              `json:"backup"`
	Epoch       uint64              `json:"epoch"`
	At          time.Time           `json:"snapshotAt"`
	Consistency string              `json:"consistency"`
	FullReason  string              `json:"fullReason,omitempty"`
	Bytes       schemas.BackupBytes `json:"bytes"`
	Warnings    []string            `json:"warnings,omitempty"`
	Files       []pointFile         `json:"files"`

	object *vault.Point
}

type pointFile struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Size uint64 `json:"sizeBytes"`
	Via  string `json:"via,omitempty"` // how it was read
}

func (a *app) pointsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "points [MACHINE]",
		Short:   "Recovery points that the vault holds, oldest first",
		Example: "  holdfast points web-01\n  holdfast points -o json | jq -r '.points[].point'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if cfg, err := conf.Load(a.configPath()); err == nil && len(cfg.Regions) > 0 && len(cfg.Vault.Targets) == 0 {
				return a.toldPoints(c.Context(), args)
			}
			cfg, v, err := a.openVault(c.Context())
			if err != nil {
				return err
			}
			ring, err := vault.LoadRing(cfg.Keys.Dir, vault.MapKey)
			if err != nil {
				return err
			}
			return a.listPoints(c.Context(), v, ring, args)
		},
	}
}

func (a *app) listPoints(ctx context.Context, v *vault.Vault, ring *vault.Ring, machine []string) error {
	r, err := v.Reader(ring)
	if err != nil {
		return err
	}
	all, bad, err := points(ctx, r)
	if err != nil {
		return err
	}
	if len(machine) > 0 {
		all = slices.DeleteFunc(all, func(p point) bool { return !p.of(machine[0]) })
	}
	var rows [][]string
	for _, p := range all {
		rows = append(rows, []string{p.Path, p.Machine.Path(), p.At.Format(time.RFC3339), p.Consistency,
			a.bytesOf(p.Bytes.Size), a.bytesOf(p.Bytes.Read), a.bytesOf(p.Bytes.Stored)})
	}
	if err := a.table(map[string]any{"points": append([]point{}, all...)}, []string{"POINT", "MACHINE", "AT", "LEVEL", "SIZE", "READ", "STORED"}, rows); err != nil {
		return err
	}
	for _, err := range bad {
		a.say("damaged: %v", err)
	}
	if len(bad) > 0 {
		return quiet(exitFailed)
	}
	return nil
}

// points reads every point, oldest first, and says which could not be read.
func points(ctx context.Context, r *vault.Reader) (all []point, bad []error, err error) {
	paths, err := r.Points(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range paths {
		p, err := r.Point(ctx, path)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, shown(path, p))
	}
	slices.SortStableFunc(all, func(a, b point) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Path, b.Path))
	})
	return all, bad, nil
}

func shown(path string, p *vault.Point) point {
	s := point{Path: path, Machine: schemas.MachineRefOf(p.Machine), Backup: schemas.IDText(p.GetRun().GetBackup()), Epoch: p.GetRun().GetEpoch(),
		At: time.UnixMilli(p.SnapshotMs).UTC(), Consistency: schemas.ConsistencyWord(p.Consistency), FullReason: p.FullReason,
		Bytes: schemas.BytesOf(p.Totals), Warnings: p.Warnings, object: p}
	for _, f := range p.Files {
		s.Files = append(s.Files, pointFile{f.Name, strings.ToLower(strings.TrimPrefix(f.Kind.String(), "KIND_")), f.SizeBytes, f.Via})
	}
	return s
}

// of says whether the point is one of a machine: by name, id or source/id.
func (p point) of(machine string) bool {
	return machine == p.Machine.Name || machine == p.Machine.ID || machine == p.Machine.Path()
}

// pick finds the one point that a person means: its path, the beginning of its
// backup's id, or a machine, whose newest it is.
func pick(all []point, name string) (point, error) {
	var newest *point
	var begin []point
	for i, p := range all {
		if p.Path == name {
			return p, nil
		}
		if p.of(name) {
			newest = &all[i]
		}
		if len(name) >= 8 && strings.HasPrefix(p.Backup, strings.ToLower(name)) {
			begin = append(begin, p)
		}
	}
	switch {
	case newest != nil:
		return *newest, nil
	case len(begin) == 1:
		return begin[0], nil
	case len(begin) > 1:
		return point{}, usage(fmt.Errorf("%q is the beginning of %d points' ids", name, len(begin)))
	}
	return point{}, fmt.Errorf("the vault has no point %q: give a path, 8 characters of a backup's id, or a machine for its newest; holdfast points lists them", name)
}
