package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) refusedCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "refused",
		Short: "What no retry could cure: look at it, put it back, or let it go",
		Example: "  holdfast refused list\n  holdfast refused show chunks.cut/2/1741\n" +
			"  holdfast refused replay chunks.cut/2/1741\n  holdfast refused drop machines.tended/1/88 --reason 'torn by a full disk'",
		Args: cobra.NoArgs,
	}
	region := c.PersistentFlags().String("region", "", "of the topics; default: all that the configuration serves")
	c.AddCommand(a.refusedListCommand(region), a.refusedShowCommand(region), a.refusedReplayCommand(region), a.refusedDropCommand(region))
	return c
}

// connectTo is connect, to the topics of a region that may be another than ours.
func (a *app) connectTo(ctx context.Context, region string) (*client.Client, error) {
	cl, err := a.connect(ctx)
	if err != nil || region == "" {
		return cl, err
	}
	return cl.Of(region), nil
}

func (a *app) refusedListCommand(region *string) *cobra.Command {
	var topic string
	var since time.Duration
	var also bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "Inputs that were refused, and rows that rooms stand still for",
		Example: "  holdfast refused list --since 24h\n  holdfast refused list --topic backups.requested --all -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			specs := topics.All()
			if topic != "" {
				s, ok := topics.Named(topic)
				if !ok {
					return usage(fmt.Errorf("--topic %s: there is none; see: holdfast topics", topic))
				}
				specs = []topics.Spec{s}
			}
			regions, err := a.everywhere(c.Context(), *region)
			if err != nil {
				return err
			}
			defer regions[0].Close()
			var all []*refusal
			for i, cl := range regions {
				if i == 1 { // what is public is one topic for all
					specs = slices.DeleteFunc(slices.Clone(specs), func(s topics.Spec) bool { return s.Kind == topics.Public })
				}
				rs, err := foldRefused(c.Context(), cl, specs)
				if err != nil {
					return err
				}
				for _, r := range rs {
					if len(regions) > 1 && r.Spec.Kind != topics.Public {
						r.Region = cl.Region()
					}
					all = append(all, r)
				}
			}
			return a.listRefused(all, func(r *refusal) bool {
				return (also || r.open()) && (since == 0 || time.Since(r.last().When) <= since)
			})
		},
	}
	c.Flags().StringVar(&topic, "topic", "", "only of this one")
	c.Flags().DurationVar(&since, "since", 0, "only what was refused so lately, such as 24h")
	c.Flags().BoolVar(&also, "all", false, "also what was replayed, dropped or cured")
	return c
}

func (a *app) listRefused(rs []*refusal, want func(*refusal) bool) error {
	var rows [][]string
	list := []any{}
	for _, r := range slices.SortedFunc(slices.Values(rs), func(x, y *refusal) int {
		return cmp.Or(x.first().When.Compare(y.first().When), cmp.Compare(x.id(), y.id()))
	}) {
		if !want(r) {
			continue
		}
		rows = append(rows, []string{r.id(), r.state(), r.stages(), r.first().When.Format(time.RFC3339), r.last().Why})
		list = append(list, map[string]any{"id": r.id(), "topic": r.At.Topic, "partition": r.At.Part, "offset": r.At.Offset,
			"state": r.state(), "table": r.Row != "", "bytes": max(len(r.Value), r.Cut), "refusals": orNone(r.Said), "marks": orNone(r.Marks)})
	}
	return a.table(map[string]any{"refused": list}, []string{"ID", "STATE", "STAGE", "SINCE", "WHY"}, rows)
}

// orNone is a list that JSON shows as one, also when it is empty.
func orNone[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}
