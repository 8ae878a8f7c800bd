package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

var errBlind = errors.New("this house is blind: it has no ledger; backups go on")

func (a *app) ledgerCommand() *cobra.Command {
	c := &cobra.Command{Use: "ledger QUESTION|sql", Short: "Ask ClickHouse what happened",
		Example: "  holdfast ledger machine web-01\n  holdfast ledger no-good-backup 24\n  holdfast ledger sql 'SELECT count() FROM ledger.chunk_log'"}
	for _, q := range ledger.Questions {
		use := q.Name
		for _, arg := range q.Args {
			use += " [" + strings.ToUpper(arg.Name) + "]"
		}
		c.AddCommand(&cobra.Command{Use: use, Short: q.Text, Args: cobra.MaximumNArgs(len(q.Args)),
			RunE: func(c *cobra.Command, args []string) error {
				l, err := a.openLedger()
				if err != nil {
					return err
				}
				defer l.Close()
				got, err := l.Ask(c.Context(), q.Name, args...)
				return a.answer(c.Context(), got, err)
			}})
	}
	c.AddCommand(a.rebuildCommand())
	c.AddCommand(&cobra.Command{Use: "sql QUERY", Short: "Any query that reads", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := a.openLedger()
			if err != nil {
				return err
			}
			defer l.Close()
			got, err := l.Query(c.Context(), args[0])
			return a.answer(c.Context(), got, err)
		}})
	return c
}

// openLedger is the ledger of the configuration, else of what runs on the data
// folder, as the user who can only read.
func (a *app) openLedger() (*ledger.Ledger, error) {
	if cfg, err := conf.Load(a.configPath()); err == nil && cfg.Ledger.Addr != "" {
		l := ledger.Config{Addr: cfg.Ledger.Addr, User: cfg.Ledger.User}
		if cfg.Ledger.PasswordFile != "" {
			l.Secret = house.Secret(cfg.Ledger.PasswordFile)
		}
		return ledger.Open(l)
	}
	r, err := house.ReadRunFile(a.data)
	if err != nil {
		return nil, err
	}
	if r.Ledger == nil {
		return nil, errBlind
	}
	return ledger.Open(ledger.Config{Addr: r.Ledger.Addr, User: r.Ledger.User, Password: r.Ledger.Password})
}

func (a *app) answer(ctx context.Context, got ledger.Answer, err error) error {
	if errors.Is(err, ledger.ErrUsage) {
		return usage(err)
	}
	if err != nil {
		return fmt.Errorf("%w (backups go on without the ledger)", err)
	}
	rows := make([][]string, len(got.Rows))
	list := make([]map[string]any, len(got.Rows))
	for i, r := range got.Rows {
		list[i] = map[string]any{}
		for j, v := range r {
			rows[i] = append(rows[i], plain(v))
			list[i][got.Columns[j]] = v
		}
	}
	return a.table(map[string]any{"rows": list, "behind": a.behind(ctx), "cost": got.Cost}, got.Columns, rows)
}

// plain is a value as people read it: times are UTC, and "-" is none.
func plain(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case time.Time:
		return x.Format("2006-01-02 15:04:05.000")
	}
	return fmt.Sprint(v)
}
