package stagetest

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

// Found makes the topics of another region: those that these stages may touch; none: the
// bench's own.
func (b *Bench) Found(region string, stages ...stage.Stage) {
	b.T.Helper()
	for _, s := range orOwn(b, stages) {
		many, single := topicsOf(s, region)
		b.make(b.parts, many)
		b.make(1, single)
	}
}

// Raze deletes what Found made, public topics not.
func (b *Bench) Raze(region string, stages ...stage.Stage) {
	b.T.Helper()
	for _, s := range orOwn(b, stages) {
		many, single := topicsOf(s, region)
		names := slices.DeleteFunc(slices.Concat(many, single), func(name string) bool { return name[:min(len(name), len(region)+1)] != region+"." })
		if _, err := kadm.NewClient(b.cl).DeleteTopics(context.Background(), names...); err != nil {
			b.T.Fatal(err)
		}
		b.cl.PurgeTopicsFromProducing(names...) // it would wait for ever for those of the old ids
	}
}

func orOwn(b *Bench, stages []stage.Stage) []stage.Stage {
	if len(stages) == 0 {
		return []stage.Stage{b.Stage}
	}
	return stages
}

func (b *Bench) make(parts int32, names []string) {
	b.T.Helper()
	made, err := kadm.NewClient(b.cl).CreateTopics(context.Background(), parts, 1, nil, names...)
	if err != nil {
		b.T.Fatal(err)
	}
	for _, t := range made {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			b.T.Fatalf("make %s: %v", t.Topic, t.Err)
		}
	}
}
