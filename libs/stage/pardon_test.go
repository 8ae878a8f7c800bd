package stage_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/stagetest"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/topics"
)

var whole = topics.Topic[words]{Spec: topics.Spec{Name: "rules.declared", Kind: topics.Table, Compacted: true}}

// Goal: a bad row stands in <table>.refused and in a metric as long as it stops a
// room, and one word of an operator lets every room pass it, those of a later
// process too, wherever the row lies then. Method: one in a room's own table, one in
// a whole one, and one that makes the handler panic; a word on each.
func TestADroppedRowIsPassed(t *testing.T) {
	s := stage.Define("reader", func(stage.Env) (func(*stage.Room) (*clerk, error), error) {
		return func(*stage.Room) (*clerk, error) { return &clerk{open: map[string]string{}}, nil }, nil
	},
		stage.Recall(open, func(c *clerk, key []byte, j words) {
			if j.GetValue() == "boom" {
				panic("boom")
			}
			c.open[string(key)] = j.GetValue()
		}),
		stage.Whole(whole, func(c *clerk, key []byte, j words) { c.open["whole/"+string(key)] = j.GetValue() }),
		stage.On(leased, func(c *clerk, in *stage.In, j words) error {
			in.Emit(say(packs, "seen", c.open["a"]+" "+c.open["b"]+" "+c.open["whole/a"]+" "+c.open["whole/b"]))
			return nil
		}), stage.Emits[*clerk](packs.Spec))
	stagetest.Run(t, 0, s, 1, func(b *stagetest.Bench) {
		b.Bugs = true
		m := watch.NewMetrics()
		b.Watch = stage.Telemetry(m, &watch.Health{}, nil)
		torn := func(t topics.Spec, key string) topics.Event {
			return topics.Event{Topic: t, Key: []byte(key), Value: []byte{0xff}, Part: -1}
		}
		b.Send(say(open, "a", "one"), torn(open.Spec, "a"), say(open, "b", "boom"), say(whole, "a", "rule"), torn(whole.Spec, "a"), say(whole, "b", "good"))
		b.Send(lease("x", "x"))
		up := b.Join(0)
		dropped := map[string]bool{}
		for len(dropped) < 3 { // each is met when those before it are passed
			time.Sleep(3 * time.Minute)
			if b.Count(stage.Done) > 0 {
				b.T.Fatalf("%d inputs are done, and %d rows were dropped", b.Count(stage.Done), len(dropped))
			}
			i := slices.IndexFunc(notices(b), func(r stagetest.Raw) bool { return !dropped[r.Headers["row"]] })
			if i < 0 {
				b.Dump(20)
				b.T.Fatalf("no more rows are listed after %d", len(dropped))
			}
			row := notices(b)[i]
			dropped[row.Headers["row"]] = true
			topic := row.Headers["input"][:strings.Index(row.Headers["input"], "/")]
			if age := gauge(b.T, m, "holdfast_stage_stopped_seconds", topic); age < 60 {
				b.T.Errorf("%s stops for %v s", topic, age)
			}
			if row.Headers["stage"] != "reader" || row.Headers["stopped"] != "0" || row.Headers["why"] == "" {
				b.T.Errorf("listed: %v", row.Headers)
			}
			spec := open.Refused()
			if strings.Contains(topic, whole.Name) {
				spec = whole.Refused()
			}
			b.Send(topics.Event{Topic: spec, Key: row.Key, Part: -1, Headers: map[string]string{"mark": topics.MarkDropped, "row": row.Headers["row"]}})
		}
		if !b.Settled() {
			b.T.Fatal("not settled")
		}
		if n := len(notices(b)); n != 3 {
			b.T.Errorf("%d notices of 3 rows: each room tells of one once", n)
		}
		for _, t := range []string{open.In(stagetest.Region), whole.In(stagetest.Region)} {
			if age := gauge(b.T, m, "holdfast_stage_stopped_seconds", t); age != 0 {
				b.T.Errorf("%s stops still, for %v s", t, age)
			}
		}
		up.Leave()
		b.Send(torn(open.Spec, "a")) // as if the table was rewritten
		b.Join(0)
		b.Send(lease("y", "y"))
		if !b.Settled() {
			b.T.Fatal("a later process does not pass")
		}
		for _, w := range stagetest.Read(b, packs) {
			if w.Value != "one  rule good" {
				b.T.Errorf("seen %q, want what stands beside the bad rows", w.Value)
			}
		}
	})
}

// notices are the bad rows that are listed, in the order of their coming.
func notices(b *stagetest.Bench) (all []stagetest.Raw) {
	for _, s := range []topics.Spec{open.Refused(), whole.Refused()} {
		for _, r := range stagetest.ReadRaw(b, s) {
			if r.Headers["mark"] == "" {
				all = append(all, r)
			}
		}
	}
	return all
}
