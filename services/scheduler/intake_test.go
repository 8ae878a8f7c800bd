package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func foundRow(source, id, name string) topics.Event {
	row := &schemas.MachineFound{Machine: &schemas.Machine{Source: source, Id: id, Name: name}}
	if id == "" {
		row.Source = &schemas.SourceFound{SnapshotsMax: 2, ShareBytes: 4 << 20, WindowBytes: 1 << 20, ListedMs: 1}
	}
	return topics.MachinesFound.Event([]byte(source+"\n"+id), row).To(topics.KeyPart([]byte(source), 2))
}

// placedRow is a machine of vc-c, which has folders, hosts, clusters and tags.
func placedRow(id, name, folder, host, cluster string, tags ...string) topics.Event {
	row := &schemas.MachineFound{Machine: &schemas.Machine{Source: "vc-c", Id: id, Name: name}, Folder: folder, Host: host, Cluster: cluster, Tags: tags}
	return topics.MachinesFound.Event([]byte("vc-c\n"+id), row).To(topics.KeyPart([]byte("vc-c"), 2))
}

func bare(value string) topics.Event { return topics.BackupsRequested.Event(nil, []byte(value), nil) }

// event is a request as kcat sends it, without a header; %NOW% is the bench's.
func requestEvent(id, typ, data string) topics.Event {
	return bare(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/t","type":%q,"time":%q,"data":%s}`, id, typ, time.Now().UTC().Format(time.RFC3339), data))
}

func backupEvent(id, data string) topics.Event {
	return requestEvent(id, schemas.TypeBackupRequested, data)
}

// told lists what the intake said of jobs 0 to n-1 of source /t, one line each.
func toldOf(b *stagetest.Bench) string {
	var lines []string
	for _, q := range stagetest.Read(b, topics.BackupsQueued) {
		if q.GetCancel() {
			lines = append(lines, "cancel "+schemas.IDText(q.GetJob().GetId()))
			continue
		}
		lines = append(lines, fmt.Sprintf("order %s/%s of %d", q.GetMachine().GetSource(), q.GetMachine().GetId(), q.GetJob().GetOf()))
	}
	for _, w := range stagetest.Read(b, topics.BackupsLeased) {
		whole := ""
		if string(w.GetRun().GetBackup()) == string(w.GetJob().GetId()) {
			whole = "job "
		}
		lines = append(lines, fmt.Sprintf("refused %sof %d: %s", whole, w.GetJob().GetOf(), w.GetReason()))
	}
	slices.Sort(lines) // partitions come in any order
	return strings.Join(lines, "\n")
}

func TestRequests(t *testing.T) {
	machines := []topics.Event{foundRow("vc-a", "", ""), foundRow("vc-b", "", ""), foundRow("vc-a", "vm-1", "db-07"), foundRow("vc-a", "vm-2", "web-01"),
		foundRow("vc-b", "vm-1", "web-02"), foundRow("vc-b", "vm-9", "db-07"), foundRow("vc-b", "vm-3", "a/b ü\n𝄞"), foundRow("vc-c", "", ""),
		placedRow("vm-c1", "twin", "/prod/db", "esx2", "c1", "tier/gold"), placedRow("vm-c2", "twin", "/prod/web", "esx11", "c2", "owner/me", "tier/silver"),
		placedRow("vm-c3", "far", "/production", "esx11", "c2", "tier/gold")}
	cancel := schemas.JobID("/t", "x")
	for name, c := range map[string]struct{ data, want string }{
		"by name":      {`{"machines":["web-01"]}`, "order vc-a/vm-2 of 1"},
		"by path":      {`{"machines":["vc-b/vm-1"]}`, "order vc-b/vm-1 of 1"},
		"by id":        {`{"machines":["vm-2"]}`, "order vc-a/vm-2 of 1"},
		"odd name":     {`{"machines":["a/b ü\n𝄞"]}`, "order vc-b/vm-3 of 1"},
		"twice":        {`{"machines":["web-01","vm-2"],"selectors":[{"name":"web-01"}]}`, "order vc-a/vm-2 of 1"},
		"glob":         {`{"selectors":[{"name":"web-??","source":"vc-b"},{"source":"vc-a","name":"[!w]*"}]}`, "order vc-a/vm-1 of 2\norder vc-b/vm-1 of 2"},
		"by source":    {`{"selectors":[{"source":"vc-a"}]}`, "order vc-a/vm-1 of 2\norder vc-a/vm-2 of 2"},
		"ambiguous":    {`{"machines":["db-07"]}`, `refused job of 0: "db-07" means 2 machines: "vc-a/vm-1", "vc-b/vm-9"; say which, as source/id`},
		"one unknown":  {`{"machines":["web-01","web-1"]}`, `order vc-a/vm-2 of 2` + "\n" + `refused of 2: "web-1" is no machine; near: "web-01"`},
		"all unknown":  {`{"machines":["nix","nux"]}`, `refused job of 0: "nix" is no machine; "nux" is no machine`},
		"by folder":    {`{"selectors":[{"folder":"prod","tag":"tier/*"}]}`, "order vc-c/vm-c1 of 2\norder vc-c/vm-c2 of 2"},
		"below only":   {`{"selectors":[{"folder":"/prod/web/","host":"esx1*","cluster":"c?"}]}`, "order vc-c/vm-c2 of 1"},
		"same name":    {`{"machines":["twin"]}`, `refused job of 0: "twin" means 2 machines: "vc-c/vm-c1" in folder "/prod/db", "vc-c/vm-c2" in folder "/prod/web"; say which, as source/id`},
		"same name id": {`{"machines":["vc-c/vm-c2"]}`, "order vc-c/vm-c2 of 1"},
		"twins asked":  {`{"selectors":[{"name":"twin","folder":"*/web"}]}`, "order vc-c/vm-c2 of 1"},
		"no such tag":  {`{"selectors":[{"name":"*","tag":"tier/iron"}]}`, `refused job of 0: no machine matches name "*" and tag "tier/iron": 8 are known, of 3 sources`},
		"bad tag":      {`{"selectors":[{"tag":"tier/["}]}`, `refused job of 0: data.selectors[0]: tag: pattern "tier/[": a set that does not end, or is empty`},
		"no match":     {`{"selectors":[{"name":"nix*"}]}`, `refused job of 0: no machine matches name "nix*": 8 are known, of 3 sources`},
		"empty":        {`{}`, `refused job of 0: data: names no machine and has no selector`},
		"no selector":  {`{"selectors":[{}]}`, `refused job of 0: data.selectors[0]: is empty: for all machines say {"name":"*"}`},
		"bad glob":     {`{"selectors":[{"name":"web[1"}]}`, `refused job of 0: data.selectors[0]: name: pattern "web[1": a set that does not end, or is empty`},
		"typo":         {`{"machines":["web-01"],"notafter":"x"}`, `refused job of 0: data.notafter: is no field: did you mean "notAfter"?`},
		"expired":      {`{"machines":["web-01"],"notAfter":"1999-12-31T23:59:59Z"}`, `refused job of 0: expired: it was not to begin after 1999-12-31T23:59:59Z`},
		"empty name":   {`{"machines":["web-01",""]}`, `refused job of 0: data.machines[1]: is empty`},
		"endless name": {`{"machines":["` + strings.Repeat("x", 2000) + `"]}`, `refused job of 0: data.machines[0]: is a name of 2000 bytes, at most 1024`},
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
				b.Send(machines...)
				b.Join(0)
				b.Send(backupEvent("x", c.data))
				if !b.Settled() {
					b.Dump(9)
					b.T.Fatal("not settled")
				}
				if got := toldOf(b); got != c.want {
					b.T.Errorf("got\n%s\nwant\n%s", got, c.want)
				}
			})
		})
	}
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(requestEvent("y", schemas.TypeBackupCancel, fmt.Sprintf(`{"job":%q}`, cancel)))
		b.Settled()
		if got, line := toldOf(b), "cancel "+cancel.String(); got != line+"\n"+line {
			b.T.Errorf("a cancel goes to each partition, not: %s", got)
		}
	})
}

// The same event, sent again and into another partition, is the same job: its orders
// have the same ids, which the scheduler takes once (TestOneBackup).
func TestTheSameEventIsOneJob(t *testing.T) {
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", ""), foundRow("vc-a", "vm-1", "web-01"), foundRow("vc-b", "", ""))
		b.Join(0)
		e := backupEvent("before-upgrade", `{"machines":["web-01"]}`)
		b.Send(e.To(0), e.To(1), e.To(0))
		b.Settled()
		ids := map[string]int{}
		for _, q := range stagetest.Read(b, topics.BackupsQueued) {
			ids[schemas.IDText(q.GetJob().GetId())+" "+schemas.IDText(q.GetBackup())]++
		}
		job := schemas.JobID("/t", "before-upgrade")
		if want := job.String() + " " + schemas.BackupID(job, "vc-a", "vm-1").String(); len(ids) != 1 || ids[want] != 3 {
			b.T.Errorf("orders are %v, want 3 of %s", ids, want)
		}
	})
}

// A record that is no event is told under the id of its place, and kept.
func TestBadEvents(t *testing.T) {
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-a", "", ""))
		b.Join(0)
		at := b.Send(bare("hello"), bare(""), requestEvent("v2", "dev.holdfast.backup.requested.v2", `{}`),
			topics.BackupsRequested.Event(nil, []byte("{}"), map[string]string{"ce_specversion": "1.0", "ce_id": "\xff", "ce_source": "s", "ce_type": "t"}))
		if !b.Settled() {
			b.T.Fatal("not settled")
		}
		words := map[string]string{}
		for _, w := range stagetest.Read(b, topics.BackupsLeased) {
			words[schemas.IDText(w.GetRun().GetBackup())] = w.GetReason()
			if w.GetVerb() != schemas.BackupLeased_VERB_REFUSED || w.GetStatus() != schemas.Status_STATUS_REFUSED {
				b.T.Errorf("told %v", w)
			}
		}
		for i, want := range []string{"no JSON object", "no value", "", "no UTF-8"} {
			id := schemas.PlaceID("backups.requested", at[i].Part, at[i].Offset)
			if i == 2 {
				id, want = schemas.JobID("/t", "v2"), "is version 2, this house reads v1"
			}
			if !strings.Contains(words[id.String()], want) {
				b.T.Errorf("record %d: told %q, want … %s …", i, words[id.String()], want)
			}
		}
		if kept := stagetest.ReadRaw(b, topics.BackupsRequested.Refused()); len(kept) != 4 {
			b.T.Errorf("%d of 4 are kept", len(kept))
		}
	})
}

// A request may come before the first listing; it waits, but not for ever.
func TestRequestsWaitForTheFirstListing(t *testing.T) {
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(backupEvent("x", `{"machines":["db-07"]}`))
		time.Sleep(20 * time.Second)
		if got := toldOf(b); got != "" {
			b.T.Fatalf("told before the listing: %s", got)
		}
		b.Send(foundRow("vc-a", "vm-1", "db-07"), foundRow("vc-a", "", ""))
		b.Settled()
		if got := toldOf(b); got != "order vc-a/vm-1 of 1" {
			b.T.Errorf("got %s", got)
		}
	})
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Join(0)
		b.Send(backupEvent("x", `{"machines":["db-07"]}`))
		sent := time.Now()
		if !b.Settled() || time.Since(sent) < Default().Listing || time.Since(sent) > 3*Default().Listing {
			b.T.Errorf("settled after %v", time.Since(sent))
		}
		if got := toldOf(b); got != `refused job of 0: "db-07" is no machine; region test-1 has listed no source yet` {
			b.T.Errorf("got %s", got)
		}
	})
}

// A machine that was renamed is found by its new name and by its id, and by the
// old name no more.
func TestRenamed(t *testing.T) {
	stagetest.Run(t, 0, Intake(Default()), 2, func(b *stagetest.Bench) {
		b.Send(foundRow("vc-c", "", ""), placedRow("vm-c1", "old", "/a", "h", "c"))
		b.Join(0)
		b.Send(placedRow("vm-c1", "new", "/b", "h", "c"))
		b.Settled()
		for i, data := range []string{`{"machines":["old"]}`, `{"machines":["vm-c1"]}`, `{"machines":["new"]}`, `{"selectors":[{"folder":"b"}]}`, `{"selectors":[{"folder":"a"}]}`} {
			b.Send(backupEvent(fmt.Sprint(i), data))
		}
		if !b.Settled() {
			b.T.Fatal("not settled")
		}
		order := "order vc-c/vm-c1 of 1\n"
		want := order + order + order + `refused job of 0: "old" is no machine` + "\n" + `refused job of 0: no machine matches folder "a": 1 are known, of 1 sources`
		if got := toldOf(b); got != want {
			b.T.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
