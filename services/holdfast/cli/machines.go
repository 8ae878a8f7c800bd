package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/match"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// machine is one machine of a source, as people see it.
type machine struct {
	Region     string        `json:"region"`
	Source     string        `json:"source"`
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Folder     string        `json:"folder,omitempty"`
	Host       string        `json:"host,omitempty"`
	Cluster    string        `json:"cluster,omitempty"`
	Datastores []string      `json:"datastores,omitempty"`
	Tags       []string      `json:"tags,omitempty"`
	Disks      int           `json:"disks"`
	Size       uint64        `json:"sizeBytes"`
	Tracking   bool          `json:"changeTracking"`
	Findings   []string      `json:"findings"`
	DiskList   []machineDisk `json:"diskList,omitempty"` // of one machine only
}

type machineDisk struct {
	Key  string `json:"key"`
	Size uint64 `json:"sizeBytes"`
}

func (a *app) machinesCommand() *cobra.Command {
	var names []string
	var where schemas.Selector
	var region string
	c := &cobra.Command{
		Use:   "machines [MACHINE]",
		Short: "Machines that the sources have; of one, what was found before a backup",
		Example: "  holdfast machines --folder /DC1/vm/prod --tag 'backup/*'\n" +
			"  holdfast machines web-01\n  holdfast machines -o json | jq -r '.machines[].name'",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var asked []match.Selector
			for _, s := range selectors(names, where) {
				one, err := match.Compile(s)
				if err != nil {
					return usage(err)
				}
				asked = append(asked, one)
			}
			found, err := a.found(c.Context(), region)
			if err != nil {
				return err
			}
			if len(asked) > 0 {
				found = slices.DeleteFunc(found, func(m located) bool {
					return !slices.ContainsFunc(asked, func(s match.Selector) bool { return s.Matches(m.MachineFound) })
				})
			}
			if len(args) == 0 {
				return a.listMachines(found)
			}
			return a.showMachines(found, args[0])
		},
	}
	c.Flags().StringArrayVar(&names, "match", nil, "only machines whose name matches this glob; may be repeated")
	c.Flags().StringVar(&region, "region", "", "only of this region; default: all that the configuration serves")
	whereFlags(c, &where)
	return c
}

// located is a machine that was found, and the region that it is in.
type located struct {
	region string
	*schemas.MachineFound
}

// found reads what the sources of a region have now, by key; of every region, if none is named.
func (a *app) found(ctx context.Context, region string) (all []located, err error) {
	regions, err := a.everywhere(ctx, region)
	if err != nil {
		return nil, err
	}
	defer regions[0].Close()
	for _, cl := range regions {
		found, err := foundIn(ctx, cl)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(found)) {
			all = append(all, located{cl.Region(), found[key]})
		}
	}
	return all, nil
}

func foundIn(ctx context.Context, cl *client.Client) (map[string]*schemas.MachineFound, error) {
	found := map[string]*schemas.MachineFound{}
	for rec, err := range cl.Read(ctx, topics.MachinesFound.Spec, 0) {
		if err != nil {
			return nil, err
		}
		row, err := topics.MachinesFound.Decode(rec.Value)
		if err != nil {
			return nil, fmt.Errorf("machines.found/%d@%d: %w", rec.Part, rec.Offset, err)
		}
		delete(found, string(rec.Key))
		if rec.Value != nil && row.Source == nil && !row.Gone {
			found[string(rec.Key)] = row
		}
	}
	return found, nil
}

func machineOf(m located) machine {
	out := machine{Region: m.region, Source: m.Machine.GetSource(), ID: m.Machine.GetId(), Name: m.Machine.GetName(), Folder: m.Folder, Host: m.Host,
		Cluster: m.Cluster, Datastores: m.Datastores, Tags: m.Tags, Disks: len(m.Disks), Tracking: m.ChangeTracking, Findings: m.Findings}
	for _, d := range m.Disks {
		out.Size += d.SizeBytes
	}
	return out
}

func (a *app) listMachines(found []located) error {
	var rows [][]string
	list := []machine{}
	for _, f := range found {
		m := machineOf(f)
		list = append(list, m)
		rows = append(rows, []string{schemas.MachineRefOf(f.Machine).Path(), m.Name, dash(m.Folder), dash(m.Host), dash(m.Cluster), dash(strings.Join(m.Tags, ",")),
			fmt.Sprint(m.Disks), a.bytesOf(m.Size), yes(m.Tracking), a.brief(m.Findings), m.Region})
	}
	return a.table(map[string]any{"machines": list}, []string{"MACHINE", "NAME", "FOLDER", "HOST", "CLUSTER", "TAGS", "DISKS", "SIZE", "TRACKING", "FINDINGS", "REGION"}, rows)
}

// findingBrief is how much of the first finding a list shows on a terminal.
const findingBrief = 60

// brief is all findings, or on a terminal the beginning of the first and how many more.
func (a *app) brief(findings []string) string {
	if !a.terminal || len(findings) == 0 {
		return strings.Join(findings, "; ")
	}
	s := []rune(findings[0])
	if len(s) > findingBrief {
		s = append(s[:findingBrief], '…')
	}
	if len(findings) > 1 {
		return fmt.Sprintf("%s (+%d)", string(s), len(findings)-1)
	}
	return string(s)
}

// showMachines prints all that is known of the machines that a name means: two of
// one name are both shown.
func (a *app) showMachines(found []located, name string) error {
	var rows [][]string
	list := []machine{}
	for _, f := range found {
		path := schemas.MachineRefOf(f.Machine).Path()
		m := machineOf(f)
		if name != m.Name && name != m.ID && name != path {
			continue
		}
		for _, d := range f.Disks {
			m.DiskList = append(m.DiskList, machineDisk{d.Key, d.SizeBytes})
		}
		list = append(list, m)
		rows = append(rows, [][]string{{"machine", path}, {"region", m.Region}, {"name", m.Name}, {"folder", dash(m.Folder)}, {"host", dash(m.Host)}, {"cluster", dash(m.Cluster)},
			{"datastores", dash(strings.Join(m.Datastores, ", "))}, {"tags", dash(strings.Join(m.Tags, ", "))}, {"change tracking", yes(m.Tracking)}}...)
		for _, d := range m.DiskList {
			rows = append(rows, []string{"disk", d.Key + "  " + a.bytesOf(d.Size)})
		}
		for _, finding := range m.Findings {
			rows = append(rows, []string{"finding", finding})
		}
		if len(m.Findings) == 0 {
			rows = append(rows, []string{"findings", "none"})
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("no source has a machine %q: give a name, an id, or source/id; holdfast machines lists them", name)
	}
	return a.table(map[string]any{"machines": list}, []string{"", ""}, rows)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
