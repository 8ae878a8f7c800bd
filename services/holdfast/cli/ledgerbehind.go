package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/topics"
)

const (
	// behindUsual is how old the newest answer may be with nothing wrong: the recorder
	// gathers for 20 s, and commits a second later.
	behindUsual = 45 * time.Second
	// behindWait is how long an answer waits for the bus to say how old it is.
	behindWait = 5 * time.Second
)

// behind says how far the ledger is behind what has happened, in words on stderr
// where it is more than usual, and in numbers. An old answer is no wrong one, but
// whoever takes it for today's acts on it.
func (a *app) behind(ctx context.Context) map[string]any {
	ctx, cancel := context.WithTimeout(ctx, behindWait)
	defer cancel()
	unknown := func(err error) map[string]any {
		a.say("how far the ledger is behind is not known: %v", err)
		return map[string]any{"unknown": err.Error()}
	}
	regions, err := a.everywhere(ctx, "")
	if err != nil {
		return unknown(err)
	}
	defer regions[0].Close()
	streams := slices.DeleteFunc(slices.Clone(topics.All()), func(s topics.Spec) bool { return s.Kind != topics.Stream })
	var age time.Duration
	var records int64
	for _, cl := range regions { // each has a recorder of its own, and they write one ledger
		b, err := cl.Behind(ctx, "recorder", streams...)
		if err != nil {
			return unknown(fmt.Errorf("region %s: %w", cl.Region(), err))
		}
		if records += b.Records; b.Records > 0 {
			age = max(age, time.Since(b.Since))
		}
	}
	if age > behindUsual {
		a.say("%s", behindWords(age, records))
	}
	return map[string]any{"seconds": int64(age.Seconds()), "records": records}
}

func behindWords(age time.Duration, records int64) string {
	return fmt.Sprintf("the ledger is behind by %s (%d records): what happened since then is not in this answer", roughly(age), records)
}

// roughly is a time as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int64(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int64(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int64(d.Hours()))
	}
	return fmt.Sprintf("%d days", int64(d.Hours()/24))
}
