// Package client is Kafka for those who are no stage: the command line, the
// one-machine mode and tests. It publishes events, reads a topic as it stands
// or as it grows, and makes the topics.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v4"
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

// Of is the client of another region's topics. It ends with c.
func (c *Client) Of(region string) *Client { return &Client{opts: c.opts, cl: c.cl, region: region} }

// Region is that of the client's topics.
func (c *Client) Region() string { return c.region }

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
	_, err := c.PublishAt(ctx, e)
	return err
}

// PublishAt is Publish that says where e lies now.
func (c *Client) PublishAt(ctx context.Context, e topics.Event) (at topics.Position, err error) {
	name := e.Topic.In(c.region)
	if e.Part < 0 {
		n, err := c.parts(ctx, name)
		if err != nil {
			return at, err
		}
		e.Part = topics.KeyPart(e.Key, n)
	}
	rec := &kgo.Record{Topic: name, Partition: e.Part, Key: e.Key, Value: e.Value}
	for k, v := range e.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	if err := c.produce(ctx, rec); errors.Is(err, kerr.UnknownServerError) {
		return at, fmt.Errorf("publish to %s: is the broker's disk full? %w", name, err)
	} else if err != nil {
		return at, fmt.Errorf("publish to %s: %w", name, err)
	}
	return topics.Position{Topic: e.Topic.Name, Part: rec.Partition, Offset: rec.Offset}, nil
}

// produce writes rec. While the brokers say that they cannot number a producer's
// records yet nothing is written, and it may be tried again.
func (c *Client) produce(ctx context.Context, rec *kgo.Record) error {
	return backoff.Retry(func() error {
		err := c.cl.ProduceSync(ctx, rec).FirstErr()
		if err != nil && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.NotCoordinator) {
			err = backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(brokers(), ctx))
}

// brokersMax is how long brokers that hang up, or begin, are waited for: one that is
// stopped for its roll ends its connections, and another answers within a second.
const brokersMax = 10 * time.Second

func brokers() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(brokersMax))
}

func (c *Client) parts(ctx context.Context, name string) (int32, error) {
	found, err := backoff.RetryWithData(func() (kadm.TopicDetails, error) {
		found, err := kadm.NewClient(c.cl).ListTopics(ctx, name)
		if broken := new(kgo.ErrFirstReadEOF); err != nil && !errors.As(err, &broken) && !errors.Is(err, io.EOF) {
			err = backoff.Permanent(err) // the client has tried long enough by itself
		}
		return found, err
	}, backoff.WithContext(brokers(), ctx))
	if err != nil {
		return 0, fmt.Errorf("look for topic %s: reach kafka: %w", name, err)
	}
	n := len(found[name].Partitions)
	if n == 0 {
		return 0, fmt.Errorf("topic %s is not there", name)
	}
	return int32(n), nil
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
