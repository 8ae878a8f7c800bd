package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func parse(t *testing.T, s string) schemas.UUID {
	t.Helper()
	id, err := schemas.ParseUUID(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// kcat is not ours and hashes keys in another way: what it publishes must be
// heard, and what we publish it must be able to read.
func TestKcatAsksAndHears(t *testing.T) {
	t.Parallel()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed (apt-get install kcat): nobody but us would have asked")
	}
	u := start(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 1<<20)}, "web-02": {"disk0.raw": noise(2, 1<<20)}})
	publish := func(value string, headers ...string) {
		args := []string{"-b", u.run.Kafka[0], "-t", "backups.requested", "-P", "-k", "some key"}
		for _, h := range headers {
			args = append(args, "-H", h)
		}
		cmd := exec.Command(kcat, args...)
		cmd.Stdin = strings.NewReader(value)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kcat: %v: %s", err, out)
		}
	}
	publish(`{"machines":["web-01"]}`, "ce_specversion=1.0", "ce_type=dev.holdfast.backup.requested.v1", "ce_source=/test", "ce_id=binary", "content-type=application/json")
	publish(`{"specversion":"1.0","type":"dev.holdfast.backup.requested.v1","source":"/test","id":"structured","data":{"machines":["web-02"]}}`)
	want := map[schemas.UUID]string{schemas.JobID("/test", "binary"): "web-01", schemas.JobID("/test", "structured"): "web-02"}
	u.until("kcat to read both completions", func() bool {
		out, err := exec.Command(kcat, "-b", u.run.Kafka[0], "-t", "backups.completed", "-C", "-o", "beginning", "-e", "-q").Output()
		u.must(err)
		seen := 0
		for line := range strings.Lines(string(out)) {
			var e schemas.BackupCompleted
			u.must(json.Unmarshal([]byte(line), &e))
			if e.Status == "completed" && want[e.Job.ID] == e.Machine.Name {
				seen++
			}
		}
		return seen == len(want)
	})
}

// Each false order gets one refused event that says what, which and why; and the
// right orders beside them run.
func TestFalseOrdersAreAnswered(t *testing.T) {
	t.Parallel()
	u := start(t, map[string]map[string][]byte{"web-01": {"disk0.raw": noise(1, 1<<20)}, "hollow": {}})
	cl := u.kafka()
	send := func(id, typ, data string, at time.Time) {
		h := map[string]string{"ce_specversion": "1.0", "ce_type": typ, "ce_source": "/test", "ce_id": id, "content-type": "application/json"}
		if !at.IsZero() {
			h["ce_time"] = at.UTC().Format(time.RFC3339)
		}
		u.must(cl.Publish(t.Context(), topics.BackupsRequested.Event([]byte(id), []byte(data), h)))
	}
	const typ = schemas.TypeBackupRequested
	cases := []struct{ id, typ, data, want string }{
		{"unknown machine", typ, `{"machines":["web-99"]}`, "web-99"},
		{"empty selector", typ, `{"selectors":[{"name":"nothing-*"}]}`, "nothing-*"},
		{"nothing asked", typ, `{}`, "names no machine"},
		{"typo", typ, `{"machines":["web-01"],"notafter":"2030-01-01T00:00:00Z"}`, "notAfter"},
		{"wrong type", typ, `{"machines":"web-01"}`, "machines"},
		{"malformed", typ, `{"machines":[`, "JSON"},
		{"version", "dev.holdfast.backup.requested.v2", `{"machines":["web-01"]}`, "v"},
		{"expired", typ, `{"machines":["web-01"],"notAfter":"2020-01-01T00:00:00Z"}`, "expired"},
	}
	for _, c := range cases {
		send(c.id, c.typ, c.data, time.Time{})
	}
	send("old", typ, `{"machines":["web-01"]}`, time.Now().Add(-48*time.Hour))
	for range 3 {
		send("good", typ, `{"machines":["web-01","web-98"]}`, time.Time{})
	}
	for _, c := range append(cases, struct{ id, typ, data, want string }{"old", "", "", "expired"}) {
		job := schemas.JobID("/test", c.id)
		u.until("an answer to "+c.id, func() bool { return len(u.completions(cl, job)) > 0 })
		e := u.completions(cl, job)[0]
		if e.Status != "refused" || !strings.Contains(e.Reason, c.want) {
			t.Errorf("%s: %s, %q; want refused, with %q", c.id, e.Status, e.Reason, c.want)
		}
	}
	good := schemas.JobID("/test", "good")
	u.until("the good order", func() bool { return len(u.completions(cl, good)) >= 2 })
	status := map[string]string{}
	for _, e := range u.completions(cl, good) {
		if old, ok := status[e.Machine.Name]; ok && old != e.Status {
			t.Errorf("%s ended twice: %s and %s", e.Machine.Name, old, e.Status)
		}
		status[e.Machine.Name] = e.Status
	}
	if status["web-01"] != "completed" || status["web-98"] != "refused" {
		t.Errorf("of two machines, one unknown: %v", status)
	}
	if points := strings.Count(u.done("points", "web-01"), "\n"); points != 1 {
		t.Errorf("an order sent three times made %d points", points)
	}
}
