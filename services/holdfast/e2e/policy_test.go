package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/up"
	"github.com/holdfast-backup/holdfast/topics"
)

// Goal: a policy that is applied to a house that runs backs up its machines by itself,
// goes on after a restart, with those that came meanwhile, and is over when it is
// dropped. Method: the command line as people use it, with a file and a list. Of
// minutes nothing is waited for: a machine without a point is due at once.
func TestAPolicyRunsByItself(t *testing.T) {
	t.Parallel()
	u := lay(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 1<<20)}, "db-07": {"disk0.raw": noise(2, 1<<20)}})
	stop := u.up(up.Options{Blind: true})
	u.listed(2)
	cl := u.kafka()
	dir := t.TempDir()
	list, file := filepath.Join(dir, "shop.txt"), filepath.Join(dir, "shop.yaml")
	u.must(os.WriteFile(list, []byte("# the shop\r\nweb-01\r\nweb-02\r\n"), 0o644))
	u.must(os.WriteFile(file, []byte("name: shop\nmachinesFrom: shop.txt\nrpoMinutes: 60\nspreadMinutes: 0\nblackout: []\nkeep: {daily: 14}\n"), 0o644))
	out, errs, code := u.holdfast("policies", "preview", "-f", file)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "shop\timages/web-01") || !strings.Contains(errs, `"web-02" is no machine`) {
		t.Errorf("preview: exit %d: %s%s", code, out, errs)
	}
	if out := u.done("policies", "apply", "-f", file); out != "shop\t1\tRPO 1h\n" {
		t.Errorf("apply says %q", out)
	}
	u.until("the policy's first backup", func() bool { return u.byPolicy(cl, "shop")["web-01"] == "completed" })
	var shown struct {
		Policies []struct {
			Kept, Missed int
			Last         struct{ Status string }
			Machines     []struct{ NextDue, PointAt string }
		}
	}
	u.must(json.Unmarshal([]byte(u.done("policies", "list", "-o", "json")), &shown))
	if p := shown.Policies; len(p) != 1 || p[0].Kept != 1 || p[0].Missed != 0 || p[0].Last.Status != "completed" || p[0].Machines[0].NextDue <= p[0].Machines[0].PointAt {
		t.Errorf("list says %+v", shown)
	}
	stop()
	u.write("web-02", "disk0.raw", noise(3, 1<<20))
	u.up(up.Options{Blind: true})
	cl = u.kafka()
	u.until("a machine that came while the house was off", func() bool { return u.byPolicy(cl, "shop")["web-02"] == "completed" })
	if n := strings.Count(u.done("points", "web-01"), "\n"); n != 1 {
		t.Errorf("a restart made %d points of a machine that was not due", n)
	}
	if ends := u.byPolicy(cl, "shop"); len(ends) != 2 {
		t.Errorf("backed up by the policy: %v", ends)
	}
	u.done("policies", "drop", "shop")
	u.until("the policy to be over", func() bool { return u.inPolicies(cl) == 0 })
	if _, errs, code := u.holdfast("policies", "show", "shop"); code != 1 || !strings.Contains(errs, `no policy is called "shop"`) {
		t.Errorf("show: exit %d: %s", code, errs)
	}
}

// byPolicy is how the last backup of each machine by a policy ended.
func (u *under) byPolicy(cl *client.Client, policy string) map[string]string {
	u.t.Helper()
	ends := map[string]string{}
	for rec, err := range cl.Read(u.t.Context(), topics.BackupsCompleted.Spec, 0) {
		u.must(err)
		e, err := schemas.DecodeEvent(rec.Headers, rec.Value)
		u.must(err)
		v, err := schemas.ReadData[schemas.BackupCompleted](e)
		u.must(err)
		if v.Policy == policy {
			ends[v.Machine.Name] = v.Status
		}
	}
	return ends
}

// inPolicies counts what policies want of machines, in their rows.
func (u *under) inPolicies(cl *client.Client) (n int) {
	u.t.Helper()
	rows := map[string]int{}
	for rec, err := range cl.Read(u.t.Context(), topics.MachinesTended.Spec, 0) {
		u.must(err)
		row, err := topics.MachinesTended.Decode(rec.Value)
		u.must(err)
		rows[string(rec.Key)] = len(row.GetPolicies())
	}
	for _, policies := range rows {
		n += policies
	}
	return n
}
