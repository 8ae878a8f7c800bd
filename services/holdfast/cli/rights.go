package cli

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func (a *app) rightsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rights",
		Short: "What each service must be allowed at the brokers, and nothing more",
		Long: "What each service must be allowed at brokers that ask who is there, for a user of its own; and\n" +
			"people, who ask from outside; in each region that the configuration names. Who replays what was refused must also write its topic.",
		Example: "  holdfast topics rights --config /etc/holdfast.yaml\n  holdfast topics rights -o json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			region, more := "local", []string(nil)
			if c, err := conf.Load(a.configPath()); err == nil {
				region = c.Home()
				more = slices.DeleteFunc(c.Named(), func(r string) bool { return r == region })
			} else if a.config != "" {
				return err
			}
			all := house.Rights(region, more...)
			var rows [][]string
			for _, who := range slices.Sorted(maps.Keys(all)) {
				for _, r := range all[who] {
					rows = append(rows, []string{who, r.Operation, r.Resource, r.Name})
				}
			}
			return a.table(map[string]any{"rights": all}, []string{"SERVICE", "MAY", "WHAT", "NAME"}, rows)
		},
	}
}
