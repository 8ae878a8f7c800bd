// Package client is Kafka for those who are no stage: the command line, the
// one-machine mode and tests. It publishes events, reads a topic as it stands
// or as it grows, and makes the topics.
package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

// Client is safe for concurrent use.
type Client struct {
	opts   []kgo.Opt
	cl     *kgo.Client
	region string
}

// Open makes a client of region's topics. It does not connect.
func Open(region string, opts ...kgo.Opt) (*Client, error) {
	opts = append([]kgo.Opt{kgo.ClientID("holdfast"), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(30 * time.Second)}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return &Client{opts: opts, cl: cl, region: region}, nil
}

// Close ends all that the client does.
func (c *Client) Close() { c.cl.Close() }

// Reach says whether a broker answers.
func (c *Client) Reach(ctx context.Context) error {
	if err := c.cl.Ping(ctx); err != nil {
		return fmt.Errorf("reach kafka: %w", err)
	}
	return nil
}

// Record is what lies in a topic.
type Record struct {
	Part       int32
	Offset     int64
	Time       time.Time
	Key, Value []byte // Value is nil in a tombstone
	Headers    map[string]string
}

// Publish writes e and returns when it is acknowledged.
func (c *Client) Publish(ctx context.Context, e topics.Event) error {
	name := e.Topic.In(c.region)
	if e.Part < 0 {
		n, err := c.parts(ctx, name)
		if err != nil {
			return err
		}
		e.Part = topics.KeyPart(e.Key, n)
	}
	rec := &kgo.Record{Topic: name, Partition: e.Part, Key: e.Key, Value: e.Value}
	for k, v := range e.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	if err := c.cl.ProduceSync(ctx, rec).FirstErr(); errors.Is(err, kerr.UnknownServerError) {
		return fmt.Errorf("publish to %s: is the broker's disk full? %w", name, err)
	} else if err != nil {
		return fmt.Errorf("publish to %s: %w", name, err)
	}
	return nil
}

func (c *Client) parts(ctx context.Context, name string) (int32, error) {
	found, err := kadm.NewClient(c.cl).ListTopics(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("look for topic %s: %w", name, err)
	}
	n := len(found[name].Partitions)
	if n == 0 {
		return 0, fmt.Errorf("topic %s is not there", name)
	}
	return int32(n), nil
}

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
		from, ends, err := c.span(ctx, name, age)
		if err != nil {
			yield(Record{}, err)
			return
		}
		if len(ends) == 0 && !on {
			return
		}
		cl, err := kgo.NewClient(append(c.opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}), kgo.FetchMaxWait(500*time.Millisecond))...)
		if err != nil {
			yield(Record{}, fmt.Errorf("read %s: %w", name, err))
			return
		}
		defer cl.Close()
		for {
			got := cl.PollFetches(ctx)
			if ctx.Err() != nil {
				if !on {
					yield(Record{}, fmt.Errorf("read %s: %w", name, ctx.Err()))
				}
				return
			}
			for _, rec := range got.Records() {
				if at, bounded := ends[rec.Partition]; !on && (!bounded || rec.Offset >= at) {
					continue
				}
				if !yield(plain(rec), nil) {
					return
				}
				if !on && rec.Offset+1 >= ends[rec.Partition] {
					delete(ends, rec.Partition)
				}
			}
			if !on && len(ends) == 0 {
				return
			}
		}
	}
}

// span says where reading starts, and where each partition that has something
// to read ends.
func (c *Client) span(ctx context.Context, name string, age time.Duration) (from map[int32]kgo.Offset, ends map[int32]int64, err error) {
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
	from, ends = map[int32]kgo.Offset{}, map[int32]int64{}
	first.Each(func(o kadm.ListedOffset) {
		at := o.Offset
		end, ok := last.Lookup(name, o.Partition)
		if ok && end.Offset < at {
			at = end.Offset // a record came between the two questions, and was the first of its age
		}
		from[o.Partition] = kgo.NewOffset().At(at)
		if ok && end.Offset > at {
			ends[o.Partition] = end.Offset
		}
	})
	return from, ends, nil
}

func plain(rec *kgo.Record) Record {
	r := Record{Part: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	if len(rec.Headers) > 0 {
		r.Headers = map[string]string{}
		for _, h := range rec.Headers {
			r.Headers[h.Key] = string(h.Value)
		}
	}
	return r
}
