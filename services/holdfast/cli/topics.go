package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) topicsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "topics",
		Short:   "Every topic, who writes it and who reads it",
		Example: "  holdfast topics\n  holdfast topics apply --config /etc/holdfast.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var rows [][]string
			list := []any{}
			for _, s := range topics.All() {
				rows = append(rows, []string{s.Name, s.Writer, s.Reader, s.Key, s.Why})
				list = append(list, map[string]any{"topic": s.Name, "writer": s.Writer, "reader": s.Reader, "key": s.Key, "why": s.Why, "table": s.Compacted})
			}
			return a.table(map[string]any{"topics": list}, []string{"TOPIC", "WRITER", "READER", "KEY", "WHY"}, rows)
		},
	}
	c.AddCommand(a.applyCommand(), a.rightsCommand())
	return c
}

func (a *app) applyCommand() *cobra.Command {
	shape, settings := client.Cluster, false
	apply := &cobra.Command{
		Use:   "apply",
		Short: "Make the topics that are missing, and say how the others differ",
		Long: "Makes the topics of a region, or of each that the configuration names, that are missing, and says how those that are there differ from\n" +
			"the catalogue: then it fails. --settings mends settings; partition counts are fixed at a region's\n" +
			"birth, and copies take a reassignment.",
		Example: "  holdfast topics apply --config /etc/holdfast.yaml\n  holdfast topics apply --partitions 16 --replication 3",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("in-sync") && shape.Replication != client.Cluster.Replication {
				shape.InSync = max(0, shape.Replication-1)
			}
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			regions := []string{cl.Region()}
			if cfg, err := conf.Load(a.configPath()); err == nil {
				regions = cfg.Named()
			}
			var failed error
			for _, region := range regions {
				failed = errors.Join(failed, a.apply(c.Context(), cl.Of(region), shape, settings))
			}
			return failed
		},
	}
	apply.Flags().Int32Var(&shape.Wide, "partitions", client.Cluster.Wide, "of a region's topics, fixed at its birth")
	apply.Flags().Int32Var(&shape.Narrow, "public-partitions", client.Cluster.Narrow, "of public topics")
	apply.Flags().Int16Var(&shape.Replication, "replication", client.Cluster.Replication, "copies; -1 is the brokers' default")
	apply.Flags().Int16Var(&shape.InSync, "in-sync", client.Cluster.InSync, "copies that a record has before it counts; not given, all but one")
	apply.Flags().BoolVar(&settings, "settings", false, "set what differs as the catalogue wants it")
	return apply
}

// apply prints the topics that it made, and then what differs.
func (a *app) apply(ctx context.Context, cl *client.Client, shape client.Shape, settings bool) error {
	made, err := cl.Ensure(ctx, shape)
	for _, name := range made {
		fmt.Fprintln(a.out, name)
	}
	if err != nil {
		return err
	}
	differ, err := cl.Differ(ctx, shape)
	if err == nil && settings {
		differ, err = cl.Settle(ctx, differ)
	}
	if err != nil {
		return err
	}
	for _, d := range differ {
		fmt.Fprintln(a.out, d)
	}
	advice, err := cl.Advice(ctx)
	if err != nil {
		a.say("%v", err) // who may make topics need not be allowed to read the brokers' settings
	}
	for _, line := range advice {
		a.say("%s", line)
	}
	if len(differ) > 0 {
		return fmt.Errorf("%d settings differ from what the catalogue wants; --settings mends those of topics", len(differ))
	}
	return nil
}
