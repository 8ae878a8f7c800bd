package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/topics"
)

// Shape is how topics are made. Partition counts are fixed at a region's birth.
type Shape struct {
	Wide, Narrow int32
	Replication  int16 // -1: the brokers' default
	// Small bounds logs for one machine, whose broker knows no compaction.
	Small bool
}

// OneMachine is small on purpose: four rooms a stage fill two to eight cores.
var OneMachine = Shape{Wide: 4, Narrow: 4, Replication: 1, Small: true}

// Cluster is a region's: 64 rooms a stage.
var Cluster = Shape{Wide: 64, Narrow: 16, Replication: -1}

// Parts returns the partition count of topics as wide as w.
func (s Shape) Parts(w topics.Width) int32 {
	switch w {
	case topics.Wide:
		return s.Wide
	case topics.Narrow:
		return s.Narrow
	default:
		return 1
	}
}

// Bounds of one machine's logs, in bytes a topic. 4 slots x 512 MiB in flight
// are 1.6 MB of references, so 16 MiB outlive any crash; places wait for a
// ledger that is down (256 MiB are 4M places); the index keeps a day of rows,
// because its store lies on the same disk. All together stay below 1 GiB: a
// start after a crash reads every byte.
var smallBytes = map[string]int64{
	topics.PlacesFiled.Name:  256 << 20,
	topics.ChunksStored.Name: 128 << 20,
}

const (
	smallStream  = 16 << 20
	smallPublic  = 32 << 20
	smallSegment = 4 << 20
)

// Configs are the settings of a topic in this shape.
func (s Shape) Configs(t topics.Spec) map[string]string {
	c := map[string]string{"retention.ms": "-1"}
	if t.Keep > 0 {
		c["retention.ms"] = strconv.FormatInt(t.Keep.Milliseconds(), 10)
	}
	if !s.Small {
		c["cleanup.policy"] = "delete"
		if t.Compacted {
			c["cleanup.policy"], c["max.compaction.lag.ms"] = "compact", strconv.FormatInt((24*time.Hour).Milliseconds(), 10)
		}
		return c
	}
	c["segment.bytes"] = strconv.Itoa(smallSegment)
	c["cleanup.policy"] = "delete" // compaction there can lose keys: tables are rolled at a start instead
	limit, special := smallBytes[t.Name]
	switch {
	case t.Name == topics.ChunksStored.Name:
		c["retention.ms"] = strconv.FormatInt((24 * time.Hour).Milliseconds(), 10)
	case special:
	case t.Compacted:
		return c
	case t.Kind == topics.Public:
		limit = smallPublic
	default:
		limit = smallStream
	}
	c["retention.bytes"] = strconv.FormatInt(max(limit/int64(s.Parts(t.Width)), smallSegment), 10)
	return c
}

// Ensure makes the topics that are missing, and their .refused. It changes
// nothing that is there, and says which topics have another partition count
// than shape wants, because no later start can mend that.
func (c *Client) Ensure(ctx context.Context, shape Shape) (made []string, err error) {
	have, err := c.counts(ctx)
	if err != nil {
		return nil, err
	}
	var odd []error
	for _, s := range topics.All() {
		for _, s := range []topics.Spec{s, s.Refused()} {
			name, want := s.In(c.region), shape.Parts(s.Width)
			if n, ok := have[name]; ok {
				if n != want {
					odd = append(odd, fmt.Errorf("topic %s has %d partitions, wanted are %d: counts are fixed at a region's birth", name, n, want))
				}
				continue
			}
			if err := c.create(ctx, shape, s); err != nil {
				return made, err
			}
			made = append(made, name)
		}
	}
	return made, errors.Join(odd...)
}

// counts asks for the partition count of every topic. kadm answers from a cache
// that knows only the topics that this client has used.
func (c *Client) counts(ctx context.Context) (map[string]int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	n := map[string]int32{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			n[*t.Topic] = int32(len(t.Partitions))
		}
	}
	return n, nil
}

func (c *Client) create(ctx context.Context, shape Shape, s topics.Spec) error {
	configs := map[string]*string{}
	for k, v := range shape.Configs(s) {
		configs[k] = &v
	}
	r, err := kadm.NewClient(c.cl).CreateTopic(ctx, shape.Parts(s.Width), shape.Replication, configs, s.In(c.region))
	if err == nil {
		err = r.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("make topic %s: %w", s.In(c.region), err)
	}
	return nil
}

// Remake deletes a topic and makes it anew, empty.
func (c *Client) Remake(ctx context.Context, shape Shape, s topics.Spec) error {
	r, err := kadm.NewClient(c.cl).DeleteTopics(ctx, s.In(c.region))
	if err == nil {
		err = r.Error()
	}
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("delete topic %s: %w", s.In(c.region), err)
	}
	return c.create(ctx, shape, s)
}
