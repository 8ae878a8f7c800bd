package cli

import (
	"fmt"

	"github.com/spf13/cobra"

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
	shape := client.Cluster
	apply := &cobra.Command{
		Use:     "apply",
		Short:   "Make the topics that are missing; changes nothing that is there",
		Example: "  holdfast topics apply --config /etc/holdfast.yaml\n  holdfast topics apply --partitions 16 --replication 3",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			made, err := cl.Ensure(c.Context(), shape)
			for _, name := range made {
				fmt.Fprintln(a.out, name)
			}
			return err
		},
	}
	apply.Flags().Int32Var(&shape.Wide, "partitions", client.Cluster.Wide, "of a region's topics, fixed at its birth")
	apply.Flags().Int32Var(&shape.Narrow, "public-partitions", client.Cluster.Narrow, "of public topics")
	apply.Flags().Int16Var(&shape.Replication, "replication", client.Cluster.Replication, "copies; -1 is the brokers' default")
	c.AddCommand(apply)
	return c
}
