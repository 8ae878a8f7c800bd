package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Say what is wrong with a configuration, and which bandwidth holds now; opens nothing",
		Example: "  holdfast check --config /etc/holdfast.yaml\n  holdfast check --config new.yaml -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := conf.Load(a.configPath())
			if err == nil {
				err = house.Check(c)
			}
			var bad conf.Findings
			if err != nil && !errors.As(err, &bad) {
				return err
			}
			var rows [][]string
			for i, f := range bad {
				f.File = a.configPath()
				bad[i] = f
				rows = append(rows, []string{f.String()})
			}
			notes, now := conf.Findings{}, []string{}
			if len(bad) == 0 {
				a.say("%s is right", a.configPath())
				notes, now = append(notes, c.Notes()...), append(now, house.Bandwidth(c, time.Now())...)
			}
			for _, n := range notes {
				a.say("%s", n)
			}
			for _, line := range now {
				a.say("%s", line)
			}
			if err := a.table(map[string]any{"findings": append(conf.Findings{}, bad...), "notes": notes, "bandwidth": now}, []string{"FINDING"}, rows); err != nil {
				return err
			}
			if len(bad) > 0 {
				return quiet(exitFailed)
			}
			return nil
		},
	}
}
