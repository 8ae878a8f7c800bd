package house

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
)

// What check says of bandwidth: what holds now and what comes next, of each that is
// limited at any time; and a warning where packs would land so slowly that leases
// count as silent, which one limited target of three does not bring about.
func TestBandwidthIsSaid(t *testing.T) {
	var c conf.Config
	c.Staging = []conf.Staging{{Size: 2 << 30}}
	c.Vault.Shards = conf.Shards{K: 1, M: 2}
	low, high, none := conf.Rate(1<<20), conf.Rate(50<<20), conf.Rate(0)
	c.Sources = []conf.Source{{Name: "free"}, {Name: "vcenter", Bandwidth: conf.Bandwidth{Rate: high,
		Windows: []conf.BandwidthWindow{{Days: "mon-fri", From: "08:00", To: "18:00", Zone: "Europe/Berlin", Rate: &low}}}}}
	c.Vault.Targets = []conf.Target{{Name: "a", Bandwidth: conf.Bandwidth{Rate: low}}, {Name: "b"}, {Name: "c", Bandwidth: conf.Bandwidth{Rate: none}}}
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	want := []string{"source vcenter: at most 1MiB/s (mon-fri 08:00-18:00 Europe/Berlin), from Thu 18:00 CET on 50MiB/s", "target a: at most 1MiB/s"}
	if got := Bandwidth(&c, at); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	c.Vault.Targets[1].Bandwidth = conf.Bandwidth{Windows: []conf.BandwidthWindow{{From: "08:00", To: "09:00", Zone: "UTC", Rate: &low}}}
	got := Bandwidth(&c, at)
	if last := got[len(got)-1]; !strings.HasPrefix(last, "note: with 2 of 3 targets limited so, a full staging share of 2GiB takes 34m0s to land, and a lease that is silent for 15m0s is ended: make staging[0].size smaller than 900MiB") {
		t.Error(last)
	}
}
