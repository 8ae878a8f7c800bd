package stage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// errTooLarge is no weather: the same bytes will not fit the next time either.
var errTooLarge = errors.New("the record is too large for its topic")

func isTooLarge(err error) bool {
	return errors.Is(err, errTooLarge) || errors.Is(err, kerr.MessageTooLarge)
}

// fits says which of events is larger than any record of ours may be.
func fits(events []topics.Event) error {
	for _, e := range events {
		if n := len(e.Key) + len(e.Value); n > topics.RecordMax {
			return fmt.Errorf("emit %s: %w: %d bytes, at most %d", e.Topic.Name, errTooLarge, n, topics.RecordMax)
		}
	}
	return nil
}

// fitting takes the place of each event that is too large: word to the auditor, if
// it is of a Run, and else nothing. That a record is lost is safe, as ever; that its
// input comes again for ever is not.
func (m *member) fitting(events []topics.Event) []topics.Event {
	if fits(events) == nil {
		return events
	}
	var out []topics.Event
	for i := range events {
		err := fits(events[i : i+1])
		if err == nil {
			out = append(out, events[i])
			continue
		}
		m.run.tell(Note{Kind: Oversized, Topic: events[i].Topic.In(m.run.env.Region), Err: err})
		if run := events[i].Run(); run != nil {
			out = append(out, m.faulted(run, "too-large", err, true))
		}
	}
	return out
}

// faulted is word to the auditor that a Run has lost something for good.
func (m *member) faulted(run *schemas.Run, code string, why error, permanent bool) topics.Event {
	return topics.BackupsFaulted.Event(run.GetBackup(), &schemas.BackupFaulted{Run: run, Stage: m.run.stage.Name, Code: code,
		Reason: cutText(why, topics.WhyMax), Permanent: permanent, Whole: true})
}

// clean is s in valid UTF-8, of n bytes at most.
func clean(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
