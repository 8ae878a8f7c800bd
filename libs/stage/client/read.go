package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/topics"
)

// stillFor is how long a reader of a log as it stands waits for a record before it
// asks whether the rest of the log holds any.
const stillFor = 500 * time.Millisecond

// Read yields what s holds from the given age on, to its end as it is now, in
// the order of each partition. age 0 is all.
func (c *Client) Read(ctx context.Context, s topics.Spec, age time.Duration) iter.Seq2[Record, error] {
	return c.read(ctx, s, age, false)
}

// Follow is Read that goes on with what comes, until ctx ends.
func (c *Client) Follow(ctx context.Context, s topics.Spec, age time.Duration) iter.Seq2[Record, error] {
	return c.read(ctx, s, age, true)
}

func (c *Client) read(ctx context.Context, s topics.Spec, age time.Duration, on bool) iter.Seq2[Record, error] {
	name := s.In(c.region)
	return func(yield func(Record, error) bool) {
		next, ends, err := c.span(ctx, name, age)
		if err != nil {
			yield(Record{}, err)
			return
		}
		if len(ends) == 0 && !on {
			return
		}
		cl, err := kgo.NewClient(append(c.opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: begin(next)}), kgo.FetchMaxWait(stillFor))...)
		if err != nil {
			yield(Record{}, fmt.Errorf("read %s: %w", name, err))
			return
		}
		defer cl.Close()
		for on || len(ends) > 0 {
			got, err := poll(ctx, cl)
			if ctx.Err() != nil && on {
				return
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("read %s: %w", name, err))
				return
			}
			for _, rec := range got.Records() {
				next[rec.Partition] = rec.Offset + 1
				if at, bounded := ends[rec.Partition]; !on && (!bounded || rec.Offset >= at) {
					delete(ends, rec.Partition)
					continue
				}
				if !yield(plain(rec), nil) {
					return
				}
			}
			if got.NumRecords() == 0 && !on {
				c.pass(ctx, cl, name, next, ends)
			}
			maps.DeleteFunc(ends, func(p int32, end int64) bool { return next[p] >= end })
		}
	}
}

func begin(at map[int32]int64) map[int32]kgo.Offset {
	from := map[int32]kgo.Offset{}
	for p, n := range at {
		from[p] = kgo.NewOffset().At(n)
	}
	return from
}

// poll waits for records, but not for ever. What a retry may cure the client retries:
// of errors only those come back that would stand until somebody does something.
func poll(ctx context.Context, cl *kgo.Client) (kgo.Fetches, error) {
	wait, cancel := context.WithTimeout(ctx, 2*stillFor)
	defer cancel()
	got := cl.PollFetches(wait)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, e := range got.Errors() {
		if said, ok := errors.AsType[*kerr.Error](e.Err); ok && !said.Retriable {
			return nil, e.Err
		}
	}
	return got, nil
}

// pass goes on where the log has no record any more: compaction may take the last one.
func (c *Client) pass(ctx context.Context, cl *kgo.Client, name string, next, ends map[int32]int64) {
	found, err := kadm.NewClient(c.cl).ListTopics(ctx, name)
	if err != nil {
		return // asked again at the next stillstand
	}
	for p, end := range ends {
		if to, err := stage.Solid(ctx, cl, name, found[name].ID, p, next[p], end); err == nil {
			next[p] = to
		}
	}
}

// span says where reading starts, and where each partition that has something
// to read ends.
func (c *Client) span(ctx context.Context, name string, age time.Duration) (from, ends map[int32]int64, err error) {
	adm := kadm.NewClient(c.cl)
	last, err := adm.ListEndOffsets(ctx, name)
	if err == nil {
		err = last.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("end of %s: %w", name, err)
	}
	first, err := adm.ListStartOffsets(ctx, name)
	if age > 0 {
		first, err = adm.ListOffsetsAfterMilli(ctx, time.Now().Add(-age).UnixMilli(), name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("start of %s: %w", name, err)
	}
	from, ends = map[int32]int64{}, map[int32]int64{}
	first.Each(func(o kadm.ListedOffset) {
		at := o.Offset
		end, ok := last.Lookup(name, o.Partition)
		if ok && end.Offset < at {
			at = end.Offset // a record came between the two questions, and was the first of its age
		}
		from[o.Partition] = at
		if ok && end.Offset > at {
			ends[o.Partition] = end.Offset
		}
	})
	return from, ends, nil
}
