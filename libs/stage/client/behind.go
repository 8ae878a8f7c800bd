package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// Behind is how far a stage is from the ends of its topics.
type Behind struct {
	Records int64     // that it has not done
	Since   time.Time // when the oldest of them was written; zero: there is none
}

// Behind asks how far a stage of this region is behind the ends of topics. What left
// a log before the stage came to it does not count: nobody waits for it.
func (c *Client) Behind(ctx context.Context, stage string, of ...topics.Spec) (b Behind, err error) {
	from, err := c.undone(ctx, c.region+"."+stage, of)
	if err != nil {
		return b, err
	}
	for _, parts := range from {
		for _, left := range parts {
			b.Records += left.records
		}
	}
	if b.Records > 0 {
		b.Since, err = c.oldest(ctx, from)
	}
	return b, err
}

// left is what a partition holds beyond a commit.
type left struct{ at, records int64 }

func (c *Client) undone(ctx context.Context, group string, of []topics.Spec) (map[string]map[int32]left, error) {
	var names []string
	for _, s := range of {
		names = append(names, s.In(c.region))
	}
	adm := kadm.NewClient(c.cl)
	done, err := adm.FetchOffsetsForTopics(ctx, group, names...)
	if err == nil {
		err = done.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) { // it never ran
		done, err = kadm.OffsetResponses{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what %s has done: %w", group, err)
	}
	first, err := adm.ListStartOffsets(ctx, names...)
	if err == nil {
		err = first.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("where the topics of %s begin: %w", group, err)
	}
	last, err := adm.ListEndOffsets(ctx, names...)
	if err == nil {
		err = last.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("where the topics of %s end: %w", group, err)
	}
	all := map[string]map[int32]left{}
	last.Each(func(end kadm.ListedOffset) {
		at := int64(0)
		if o, ok := done.Lookup(end.Topic, end.Partition); ok {
			at = o.At
		}
		if o, ok := first.Lookup(end.Topic, end.Partition); ok {
			at = max(at, o.Offset)
		}
		if at < end.Offset {
			if all[end.Topic] == nil {
				all[end.Topic] = map[int32]left{}
			}
			all[end.Topic][end.Partition] = left{at, end.Offset - at}
		}
	})
	return all, nil
}

// oldest reads one record of each partition, and says when the first was written.
func (c *Client) oldest(ctx context.Context, from map[string]map[int32]left) (since time.Time, err error) {
	offsets := map[string]map[int32]kgo.Offset{}
	wanted := 0
	for topic, parts := range from {
		offsets[topic] = map[int32]kgo.Offset{}
		for p, l := range parts {
			offsets[topic][p] = kgo.NewOffset().At(l.at)
			wanted++
		}
	}
	cl, err := kgo.NewClient(append(c.opts, kgo.ConsumePartitions(offsets), kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxWait(500*time.Millisecond))...)
	if err != nil {
		return since, fmt.Errorf("read what is not done: %w", err)
	}
	defer cl.Close()
	for seen := map[string]map[int32]bool{}; wanted > 0; {
		got := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return since, fmt.Errorf("read what is not done: %w", ctx.Err())
		}
		for _, rec := range got.Records() {
			if seen[rec.Topic][rec.Partition] {
				continue
			}
			if seen[rec.Topic] == nil {
				seen[rec.Topic] = map[int32]bool{}
			}
			seen[rec.Topic][rec.Partition] = true
			wanted--
			if since.IsZero() || rec.Timestamp.Before(since) {
				since = rec.Timestamp
			}
		}
	}
	return since, nil
}
