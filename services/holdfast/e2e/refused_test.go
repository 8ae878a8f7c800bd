package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// listedRefusal is one of `refused list`.
type listedRefusal struct {
	ID, State string
	Table     bool
	Bytes     int
	Refusals  []struct{ Stage, Why, Stopped string }
	Marks     []struct{ What, Why, By, To string }
}

func (u *under) refusals(args ...string) (all []listedRefusal) {
	u.t.Helper()
	var v struct{ Refused []listedRefusal }
	u.must(json.Unmarshal([]byte(u.done(append([]string{"refused", "list", "-o", "json"}, args...)...)), &v))
	return v.Refused
}

// refusal waits for one of a topic that is not in seen.
func (u *under) refusal(topic string, seen map[string]bool) (r listedRefusal) {
	u.t.Helper()
	u.until("a refusal of "+topic, func() bool {
		for _, r = range u.refusals("--topic", topic) {
			if !seen[r.ID] {
				seen[r.ID] = true
				return true
			}
		}
		return false
	})
	return r
}

// Goal: an operator finds what was refused, sees it, puts it back once and not twice
// by accident, and lets it go. Method: garbage in a stream and in a public topic of a
// house that works, which it goes on to do.
func TestRefusedByHand(t *testing.T) {
	t.Parallel()
	u := start(t, map[string]map[string][]byte{"vm": {"disk.img": noise(1, 1<<20)}})
	cl := u.kafka()
	u.must(cl.Publish(t.Context(), topics.Event{Topic: topics.ChunksCut.Spec, Key: []byte("k"), Value: []byte{0xff, 0xfe}, Part: 2}))
	u.must(cl.Publish(t.Context(), topics.Event{Topic: topics.BackupsRequested.Spec, Key: []byte("k"), Value: []byte(`{"nonsense": true}`), Part: -1}))
	seen := map[string]bool{}
	r := u.refusal("chunks.cut", seen)
	if !strings.HasPrefix(r.ID, "chunks.cut/2/") || r.State != "refused" || r.Bytes != 2 || len(r.Refusals) != 1 || r.Refusals[0].Stage != "deduper" || !strings.Contains(r.Refusals[0].Why, "decode chunks.cut") {
		t.Errorf("listed: %+v", r)
	}
	if out := u.done("refused", "show", r.ID); !strings.Contains(out, `"hex":"fffe"`) || !strings.Contains(out, `"undecoded":`) {
		t.Errorf("shown: %s", out)
	}
	public := u.refusal("backups.requested", seen)
	if out := u.done("refused", "show", "backups.requested/"+strings.SplitN(public.ID, "/", 2)[1]); !strings.Contains(out, `nonsense`) || !strings.Contains(out, `"stage":"intake"`) {
		t.Errorf("shown: %s", out)
	}

	var to struct{ To string }
	u.must(json.Unmarshal([]byte(u.done("refused", "replay", "-o", "json", r.ID)), &to))
	again := u.refusal("chunks.cut", seen) // it is as bad as it was
	if again.ID != to.To {
		t.Errorf("replayed to %s, and %s was refused", to.To, again.ID)
	}
	if out := u.done("refused", "show", again.ID); !strings.Contains(out, `"replay":"`+r.ID+`"`) {
		t.Errorf("a replayed record does not say so: %s", out)
	}
	if _, errs, code := u.holdfast("refused", "replay", r.ID); code != 3 || !strings.Contains(errs, to.To) {
		t.Errorf("replayed twice in silence: exit %d, %s", code, errs)
	}
	u.done("refused", "replay", "--again", r.ID)
	third := u.refusal("chunks.cut", seen)

	u.done("refused", "drop", again.ID, third.ID, public.ID, "--reason", "a test's")
	if left := u.refusals(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if all := u.refusals("--all", "--since", "1h"); len(all) != 4 || all[len(all)-1].Marks[0].Why != "a test's" {
		t.Errorf("all: %+v", all)
	}
	for _, bad := range []struct {
		code int
		args []string
	}{
		{2, []string{"refused", "show", "nonsense"}}, {2, []string{"refused", "show", "no.topic/0/0"}}, {2, []string{"refused", "list", "--topic", "x"}},
		{1, []string{"refused", "show", "chunks.cut/0/999"}}, {1, []string{"refused", "replay", "chunks.cut/0/999"}},
		{1, []string{"refused", "drop", "chunks.cut/0/999"}}, {1, []string{"refused", "drop", "machines.tended/0/999"}},
	} {
		if out, errs, code := u.holdfast(bad.args...); code != bad.code {
			t.Errorf("%v: exit %d, want %d: %s%s", bad.args, code, bad.code, out, errs)
		}
	}
	if ends := u.ends("vm"); ends[0].Status != "completed" {
		t.Errorf("a backup beside it: %s", names(ends))
	}
}

// Goal: a row of a table that nobody can read stops its room, loudly; one command
// lets it on, and what waited is done. Method: one in every partition of the
// scheduler's own table, of a house that is started on it.
func TestRowThatStopsTheHouse(t *testing.T) {
	t.Parallel()
	u := start(t, map[string]map[string][]byte{"vm": {"disk.img": noise(1, 1<<20)}})
	cl := u.kafka()
	for part := range int32(4) {
		u.must(cl.Publish(t.Context(), topics.Event{Topic: topics.MachinesTended.Spec, Key: []byte("torn"), Value: []byte{0xff}, Part: part}))
	}
	var rows []listedRefusal
	u.until("four rows to be listed", func() bool {
		rows = u.refusals()
		return len(rows) == 4
	})
	for _, r := range rows {
		if r.State != "stopped" || !r.Table || r.Refusals[0].Stage != "scheduler" || r.Refusals[0].Stopped == "" || !strings.Contains(r.Refusals[0].Why, "decode machines.tended") {
			t.Errorf("listed: %+v", r)
		}
	}
	if _, errs, code := u.holdfast("refused", "replay", rows[0].ID); code != 3 || !strings.Contains(errs, "drop it") {
		t.Errorf("a row of a table was put back: exit %d, %s", code, errs)
	}
	u.done("backup", "vm")
	out := u.done("jobs")
	id, _, _ := strings.Cut(out, "\t")
	if strings.Contains(out, "done") {
		t.Fatalf("it was backed up by a scheduler that cannot read its table: %s", out)
	}
	for _, r := range rows {
		u.done("refused", "drop", "--reason", "torn", r.ID)
	}
	u.until("the backup that waited", func() bool { return strings.Contains(u.done("jobs", id), "completed") })
	if left := u.refusals(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// Goal: poison in a running backup's own records costs an attempt, and whoever asks
// learns why. Method: the first lease of a backup is answered with a record of its
// Run that makes no sense.
func TestWhyAnAttemptFailed(t *testing.T) {
	t.Parallel()
	u := start(t, map[string]map[string][]byte{"vm": {"disk.img": noise(1, 64<<20)}})
	cl := u.kafka()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	poisoned := make(chan error, 1)
	go func() { poisoned <- poisonLease(ctx, cl) }()
	ends := u.ends("vm")
	u.must(<-poisoned)
	if len(ends) != 1 || ends[0].Status != "completed" || ends[0].Attempt != 2 {
		t.Fatalf("ended: %+v", ends)
	}
	why := strings.Join(ends[0].Warnings, "; ")
	for _, part := range []string{"attempt 1 failed: auditor: ", "chunks.known/", "7 places"} {
		if !strings.Contains(why, part) {
			t.Errorf("the completed event says %q, and not %q", why, part)
		}
	}
	if out := u.done("jobs", ends[0].Job.ID.String()); !strings.Contains(out, why) {
		t.Errorf("jobs says %s", out)
	}
	r := u.refusal("chunks.known", map[string]bool{})
	if out := u.done("refused", "show", r.ID); !strings.Contains(out, `"message":{"run":{"backup":`) {
		t.Errorf("shown: %s", out)
	}
	if u.run.Ledger != nil { // else there is no engine here
		u.until("the ledger to tell of it", func() bool { return strings.Contains(u.done("ledger", "refusals"), r.ID) })
		if out := u.done("ledger", "retries"); out != "" {
			t.Errorf("nothing is retried: %s", out)
		}
	}
}

// poisonLease answers the first lease.
func poisonLease(ctx context.Context, cl *client.Client) error {
	for rec, err := range cl.Follow(ctx, topics.BackupsLeased.Spec, time.Minute) {
		if err != nil {
			return err
		}
		l, err := topics.BackupsLeased.Decode(rec.Value)
		if err != nil {
			return err
		}
		if l.Verb == schemas.BackupLeased_VERB_LEASED {
			return cl.Publish(ctx, topics.ChunksKnown.Event(l.Run.Backup, &schemas.ChunksKnown{Run: l.Run, Places: &schemas.Places{Places: make([]uint64, 7)}}))
		}
	}
	return ctx.Err()
}
