package kafka

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
	"github.com/holdfast-backup/holdfast/topics"
)

// door: each service logs in as a user of its own, who may do what "topics rights" says
// and nothing else, and a machine is backed up. A service that has no right to a topic
// is told so.
func door(t *testing.T, c *kafkatest.Cluster, binary string) {
	r := newRegion(t, c, binary, "door")
	r.done("topics", "apply", "--partitions", "2", "--public-partitions", "3")
	r.born()
	r.write(vm(0), noise(1, 2<<20))
	adm := c.Admin()
	var users []kadm.UpsertSCRAM
	for who, rights := range house.Rights(r.name) {
		users = append(users, kadm.UpsertSCRAM{User: who, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "sesame of " + who})
		r.must(os.WriteFile(filepath.Join(r.dir, who+".password"), []byte("sesame of "+who+"\n"), 0o600))
		r.allow(adm, who, rights)
	}
	made, err := adm.AlterUserSCRAMs(t.Context(), nil, users)
	r.must(err)
	made.EachError(func(u kadm.AlteredUserSCRAM) { t.Fatalf("user %s: %v %s", u.User, u.Err, u.ErrMessage) })

	f := r.fleet()
	plain := f.config
	for _, s := range house.Without(house.Catalogue, "recorder") {
		f.config = r.as(plain, s.Name)
		f.start(s.Name, s.Name)
	}
	r.must(os.WriteFile(r.config, r.as(plain, house.People), 0o600))
	if out, errs, code := r.holdfast("backup", "--wait", vm(0)); code != 0 || !strings.Contains(out, "completed") {
		t.Errorf("backup: exit %d: %s%s", code, out, errs)
	}
	r.until("all streams to be read to their ends", r.lag)
	d := stage.Door{User: "chunker", Password: func() (string, error) { return "sesame of chunker", nil }}
	cl, err := client.Open(r.name, d.Connect(c.Guarded()...)...)
	r.must(err)
	defer cl.Close()
	for _, err := range cl.Read(t.Context(), topics.MachinesTended.Spec, 0) {
		if err == nil {
			t.Error("the chunker reads the scheduler's memory")
			break
		}
		if !strings.Contains(err.Error(), "AUTHORIZATION") {
			t.Error(err)
		}
	}
}

// as is the configuration of one who logs in.
func (r *region) as(config []byte, who string) []byte {
	plain, guarded := strings.Join(r.brokers.Seeds(), "\", \""), strings.Join(r.brokers.Guarded(), "\", \"")
	return bytes.Replace(config, fmt.Appendf(nil, "{brokers: [\"%s\"]}", plain),
		fmt.Appendf(nil, "{brokers: [\"%s\"], sasl: {user: %s, password_file: %s.password}}", guarded, who, who), 1)
}

// allow lets a user do these things. Others may do nothing with what has an ACL.
func (r *region) allow(adm *kadm.Client, who string, rights []stage.Right) {
	r.Helper()
	for _, op := range []struct {
		word string
		op   kadm.ACLOperation
	}{{"read", kadm.OpRead}, {"write", kadm.OpWrite}} {
		var in, groups []string
		for _, w := range rights {
			switch {
			case w.Operation == op.word && w.Resource == "topic":
				in = append(in, w.Name)
			case w.Operation == op.word:
				groups = append(groups, w.Name)
			}
		}
		b := kadm.NewACLs().Allow("User:" + who).AllowHosts().ResourcePatternType(kadm.ACLPatternLiteral).Operations(op.op).MaybeTopics(in...).MaybeGroups(groups...)
		made, err := adm.CreateACLs(r.Context(), b)
		r.must(err)
		for _, m := range made {
			r.must(m.Err)
		}
	}
}
