package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) machinesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "machines",
		Short:   "Machines that the sources have",
		Example: "  holdfast machines\n  holdfast machines -o json | jq -r '.machines[].name'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			found := map[string]*schemas.MachineFound{}
			for rec, err := range cl.Read(c.Context(), topics.MachinesFound.Spec, 0) {
				if err != nil {
					return err
				}
				row, err := topics.MachinesFound.Decode(rec.Value)
				if err != nil {
					return fmt.Errorf("machines.found/%d@%d: %w", rec.Part, rec.Offset, err)
				}
				delete(found, string(rec.Key))
				if rec.Value != nil && row.Source == nil && !row.Gone {
					found[string(rec.Key)] = row
				}
			}
			return a.listMachines(found)
		},
	}
}

func (a *app) listMachines(found map[string]*schemas.MachineFound) error {
	var rows [][]string
	list := []any{}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		m := found[key]
		var size uint64
		for _, d := range m.Disks {
			size += d.SizeBytes
		}
		ref := schemas.MachineRefOf(m.Machine)
		rows = append(rows, []string{ref.Path(), ref.Name, fmt.Sprint(len(m.Disks)), a.bytesOf(size), strings.Join(m.Findings, "; ")})
		list = append(list, map[string]any{"source": ref.Source, "id": ref.ID, "name": ref.Name, "disks": len(m.Disks), "sizeBytes": size, "findings": m.Findings})
	}
	return a.table(map[string]any{"machines": list}, []string{"MACHINE", "NAME", "DISKS", "SIZE", "FINDINGS"}, rows)
}
