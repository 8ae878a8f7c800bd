package cli

import (
	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
)

func (a *app) initCommand() *cobra.Command {
	o := up.Options{}
	c := &cobra.Command{
		Use:   "init",
		Short: "A commented configuration, keys and a vault, where they are not there yet",
		Example: "  holdfast init --data /var/lib/holdfast --images /srv/vms\n" +
			"  holdfast init --config /etc/holdfast.yaml",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Data = a.data
			var cfg *conf.Config
			var err error
			if a.config != "" {
				cfg, err = conf.Load(a.config)
			} else {
				cfg, err = up.Configure(o)
			}
			if err != nil {
				return err
			}
			if err := up.FirstKeys(c.Context(), cfg, a.err); err != nil {
				return err
			}
			a.say("%s is ready", a.configPath())
			return nil
		},
	}
	c.Flags().StringArrayVar(&o.Images, "images", nil, "a folder of machines, each a folder of disk images")
	c.Flags().StringArrayVar(&o.Targets, "target", nil, "a folder for shards, each on a disk of its own; default 6 below --data")
	return c
}
