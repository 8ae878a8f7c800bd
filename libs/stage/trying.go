package stage

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

const (
	// sayEvery is how often an input that is retried is logged again, and told again
	// to the ledger: it rests for as long between two attempts in the end (maxRetry).
	sayEvery = time.Minute
	// tellAfter is how long an input is retried before the ledger hears of it: what a
	// second attempt cures is nobody's trouble.
	tellAfter = 5 * time.Second
)

// trying is what is known of one thing that is tried again and again.
type trying struct {
	count int64
	since time.Time // the first failure; zero: it does not fail
	said  time.Time // last in the log
	told  time.Time // last to the ledger; zero: never
}

// failed counts one more, and says whether it is due in the log and to the ledger.
func (t *trying) failed(now time.Time) (say, tell bool) {
	if t.count++; t.since.IsZero() {
		t.since = now
	}
	if say = now.Sub(t.said) >= sayEvery; say {
		t.said = now
	}
	if tell = now.Sub(t.since) >= tellAfter && now.Sub(t.told) >= sayEvery; tell {
		t.told = now
	}
	return say, tell
}

// over forgets, and says what there was.
func (t *trying) over() (was trying) {
	was, *t = *t, trying{}
	return was
}

// trouble tells the ledger of an input. It is not waited for, and may be lost: the
// ledger is a copy, and who cannot write must not wait for a word on it.
func (m *member) trouble(n Note, outcome schemas.InputTroubled_Outcome, run *schemas.Run) {
	r := m.run
	if n := len(run.GetLease()); len(run.GetBackup()) != 16 || n != 16 && n != 0 {
		run = nil // of a record that is refused for it, perhaps
	}
	v := &schemas.InputTroubled{Run: run, Stage: r.stage.Name, Worker: r.env.Worker, Topic: r.specs[n.Topic].Name, Part: uint32(n.Part), Offset: uint64(n.Offset),
		Outcome: outcome, Tries: uint32(n.Count), Reason: cutText(n.Err, topics.WhyMax)}
	if !n.Since.IsZero() {
		v.SinceMs = n.Since.UnixMilli()
	}
	for _, rec := range m.records([]topics.Event{topics.InputsTroubled.Event([]byte(r.stage.Name), v)}, origin{}) {
		m.cl.Produce(m.life, rec, func(_ *kgo.Record, err error) {
			if err != nil && m.life.Err() == nil {
				r.tell(Note{Kind: Trouble, Topic: n.Topic, Part: n.Part, Offset: n.Offset, Err: err})
			}
		})
	}
}

// cutText is what an error says, in valid UTF-8 of n bytes at most.
func cutText(err error, n int) string {
	if err == nil {
		return ""
	}
	return clean(err.Error(), n)
}
