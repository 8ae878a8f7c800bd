package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// into holds the flags of a restore's destination against each other.
func into(req *schemas.RestoreRequested, networks []string) error {
	d := &req.Destination
	whole := d.Name+d.Folder+d.Pool+d.Datastore != "" || len(networks) > 0 || d.PowerOn || d.InPlace
	switch {
	case d.Dir == "" && d.Source == "":
		return errors.New("restore needs --to or --to-source")
	case d.Dir != "" && d.Source != "":
		return errors.New("--to and --to-source: want one of them")
	case d.Dir != "" && whole:
		return errors.New("--name, --folder, --pool, --datastore, --network, --power-on and --in-place need --to-source")
	case d.Source != "" && (len(req.Files) > 0 || req.As != ""):
		return errors.New("--file and --as need --to: into a source goes the whole machine")
	case d.InPlace && !req.Force:
		return errors.New("--in-place writes over the machine's disks: it needs --force")
	case d.InPlace && (d.Name+d.Folder+d.Pool+d.Datastore != "" || len(networks) > 0):
		return errors.New("--in-place: a machine keeps its name, folder, pool, datastore and networks")
	}
	for _, n := range networks {
		from, to, ok := strings.Cut(n, "=")
		if !ok || from == "" || to == "" {
			return fmt.Errorf("--network %q: want OLD=NEW", n)
		}
		if d.Networks == nil {
			d.Networks = map[string]string{}
		}
		if _, twice := d.Networks[from]; twice {
			return fmt.Errorf("--network: %q is given twice", from)
		}
		d.Networks[from] = to
	}
	return nil
}

// restored is the last word of a restore that went well.
func restored(c schemas.RestoreCompleted) string {
	to, how := c.Destination, ""
	if c.Machine != nil {
		to, how = fmt.Sprintf("machine %q (%s) of %s", c.Machine.Name, c.Machine.ID, c.Destination), " by "+c.Via
	}
	return fmt.Sprintf("restored %s, %s written%s, to %s in %.1f s", human(c.Size), human(c.Written), how, to, c.DoneAt.Sub(c.StartedAt).Seconds())
}
