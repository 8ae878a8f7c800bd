package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
	"github.com/holdfast-backup/holdfast/services/recorder"
)

func (a *app) rebuildCommand() *cobra.Command {
	return &cobra.Command{Use: "rebuild", Short: "Write down the completed backups that the vault's points still tell of", Args: cobra.NoArgs,
		Long: "For a ledger that lost its disk: each point becomes the row of its backup, unless the ledger knows it.\n" +
			"It may run at any time, beside the recorder, and again. Needs the map key and the ledger's writer.",
		Example: "  holdfast ledger rebuild\n  holdfast ledger rebuild --config /etc/holdfast/holdfast.yaml",
		RunE:    func(c *cobra.Command, _ []string) error { return a.rebuild(c.Context()) }}
}

func (a *app) rebuild(ctx context.Context) error {
	cfg, v, err := a.openVault(ctx)
	if err != nil {
		return err
	}
	ring, err := vault.LoadRing(cfg.Keys.Dir, vault.MapKey)
	if err != nil {
		return err
	}
	r, err := v.Reader(ring)
	if err != nil {
		return err
	}
	l, err := a.openLedgerToWrite(cfg)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Migrate(ctx); err != nil {
		return err
	}
	all, bad, err := points(ctx, r)
	if err != nil {
		return err
	}
	added, err := a.verdicts(ctx, cfg, l, all)
	if err != nil {
		return err
	}
	for _, err := range bad {
		a.say("damaged: %v", err)
	}
	v1 := map[string]any{"points": len(all), "added": added, "damaged": len(bad)}
	if err := a.table(v1, []string{"POINTS", "ADDED", "DAMAGED"}, [][]string{{fmt.Sprint(len(all)), fmt.Sprint(added), fmt.Sprint(len(bad))}}); err != nil {
		return err
	}
	if len(bad) > 0 {
		return quiet(exitFailed)
	}
	return nil
}

// verdicts writes those of points whose backup the ledger does not know.
func (a *app) verdicts(ctx context.Context, cfg *conf.Config, l *ledger.Ledger, all []point) (added int, err error) {
	known, err := l.Completed(ctx)
	if err != nil {
		return 0, err
	}
	window, err := house.Window(cfg)
	if err != nil {
		return 0, err
	}
	var rows ledger.Turns
	for _, p := range all {
		t, err := recorder.Verdict(p.object, p.Path, cfg.Region, cfg.Vault.Name, window)
		if err != nil {
			return added, err
		}
		if !known[t.Attempt.Backup] {
			rows = append(rows, t)
		}
	}
	for from := 0; from < len(rows); from += ledger.MaxRows {
		part := rows[from:min(from+ledger.MaxRows, len(rows))]
		token := fmt.Sprintf("points %s to %s, %d", part[0].Point, part[len(part)-1].Point, len(part))
		if err := l.Insert(ctx, token, part); err != nil {
			return added, err
		}
		added += len(part)
	}
	return added, nil
}

// openLedgerToWrite is the ledger of the configuration, else of what runs on the
// data folder, as the user who writes.
func (a *app) openLedgerToWrite(cfg *conf.Config) (*ledger.Ledger, error) {
	c := ledger.Config{Addr: cfg.Ledger.Addr, User: cfg.Ledger.User}
	file := cfg.Ledger.PasswordFile
	if c.Addr == "" {
		run, err := house.ReadRunFile(a.data)
		if err != nil {
			return nil, err
		}
		if run.Ledger == nil {
			return nil, errBlind
		}
		c.Addr = run.Ledger.Addr
		c.User, file = up.LedgerWriter(a.data)
	}
	if file != "" {
		c.Secret = house.Secret(file)
	}
	return ledger.Open(c)
}
