package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// toldPoint is a point that an event told of: whether the vault still has it is for the
// vault to say.
type toldPoint struct {
	Path    string              `json:"point"`
	Region  string              `json:"region"`
	Machine schemas.MachineRef  `json:"machine"`
	Backup  schemas.UUID        `json:"backup"`
	At      time.Time           `json:"snapshotAt"`
	Level   string              `json:"consistency"`
	Bytes   schemas.BackupBytes `json:"bytes"`
}

// toldPoints lists the points of all regions, oldest first, for whose configuration is a
// coordinator's and has no vault: those that events still tell of.
func (a *app) toldPoints(ctx context.Context, machine []string) error {
	cl, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	all := []toldPoint{}
	seen := map[string]bool{}
	for rec, err := range cl.Read(ctx, topics.BackupsCompleted.Spec, 0) {
		if err != nil {
			return err
		}
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		if err != nil || e.Type != schemas.TypeBackupCompleted {
			continue // another's event in a public topic
		}
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		if err != nil || v.Point == "" || seen[v.Point] || len(machine) > 0 && !slices.Contains([]string{v.Machine.Name, v.Machine.ID, v.Machine.Path()}, machine[0]) {
			continue
		}
		seen[v.Point] = true
		region := strings.TrimPrefix(e.Source, schemas.EventSource(""))
		all = append(all, toldPoint{v.Point, region, v.Machine, v.Backup, v.SnapshotAt.UTC(), v.Consistency, v.Bytes})
	}
	slices.SortStableFunc(all, func(x, y toldPoint) int { return x.At.Compare(y.At) })
	var rows [][]string
	for _, p := range all {
		rows = append(rows, []string{p.Path, p.Machine.Path(), p.At.Format(time.RFC3339), p.Level,
			a.bytesOf(p.Bytes.Size), a.bytesOf(p.Bytes.Read), a.bytesOf(p.Bytes.Stored), p.Region})
	}
	a.say("this configuration has no vault: these are the points that events of the last 30 days tell of; what is there now, the region's own says")
	return a.table(map[string]any{"points": all}, []string{"POINT", "MACHINE", "AT", "LEVEL", "SIZE", "READ", "STORED", "REGION"}, rows)
}
