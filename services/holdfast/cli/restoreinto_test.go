package cli

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Flags that do not fit each other are told before anything is opened; those that
// do become the order.
func TestRestoreInto(t *testing.T) {
	for args, why := range map[string]string{
		"":                          "needs --to or --to-source",
		"--to /a --to-source vc":    "want one of them",
		"--to /a --power-on":        "need --to-source",
		"--to-source vc --file x":   "the whole machine",
		"--to-source vc --as ova":   "the whole machine",
		"--to-source vc --in-place": "needs --force",
		"--to-source vc --in-place --force --name x": "keeps its name",
		"--to-source vc --network a":                 "want OLD=NEW",
		"--to-source vc --network a=b --network a=c": "twice",
	} {
		c := (&app{}).restoreCommand()
		c.SetArgs(append([]string{"point"}, strings.Fields(args)...))
		c.SilenceErrors, c.SilenceUsage = true, true
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", args, err, why)
		}
	}
	req := schemas.RestoreRequested{Destination: schemas.RestoreDestination{Source: "vc", Name: "n", PowerOn: true}}
	if err := into(&req, []string{"VLAN 10=Test=1", "b=c"}); err != nil || req.Destination.Networks["VLAN 10"] != "Test=1" || len(req.Destination.Networks) != 2 {
		t.Errorf("%+v, %v", req.Destination, err)
	}
}
