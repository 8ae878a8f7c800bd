package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/services/holdfast/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var blind bool
	c := &cobra.Command{
		Use:     "demo",
		Short:   "The whole walk on three small machines, each step shown and checked",
		Example: "  holdfast demo\n  holdfast demo --data /var/tmp/demo",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			data := a.data
			if !c.Flags().Changed("data") && os.Getenv("HOLDFAST_DATA") == "" {
				data = filepath.Join(os.TempDir(), fmt.Sprint("holdfast-demo-", os.Getuid()))
			}
			log, err := os.OpenFile(strings.TrimRight(data, "/")+".log", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			defer log.Close()
			err = demo.Run(c.Context(), demo.Options{Data: data, Out: a.out, Blind: blind, Log: watch.Logger(log, slog.LevelInfo), Run: runner(filepath.Join(data, "data"))})
			if err != nil {
				return fmt.Errorf("demo: %w; the log is %s", err, log.Name())
			}
			return nil
		},
	}
	c.Flags().BoolVar(&blind, "no-ledger", false, "without ClickHouse")
	return c
}

// runner runs a command line as a person would type it.
func runner(data string) demo.Runner {
	return func(ctx context.Context, args ...string) ([]byte, error) {
		var out, errs bytes.Buffer
		sub := &app{in: strings.NewReader(""), out: &out, err: &errs}
		root := sub.root()
		root.SetArgs(append(args, "--data", data))
		root.SetOut(&out)
		root.SetErr(&errs)
		if code := sub.exit(root.ExecuteContext(ctx)); code != 0 {
			return out.Bytes(), fmt.Errorf("holdfast %s: exit %d: %s", strings.Join(args, " "), code, strings.TrimSpace(errs.String()))
		}
		return out.Bytes(), nil
	}
}
