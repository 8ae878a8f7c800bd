package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/topics"
)

// atOnce is how many partitions one request makes: Kafka refuses more than
// 10,000, and 60 topics of 64 are 3,840.
const atOnce = 5000

// A creation reaches every broker in milliseconds, on a machine with other work in a
// second; one that is fenced never hears of it.
const (
	spreadWithin = 30 * time.Second
	spreadLook   = 20 * time.Millisecond
)

// Ensure makes the topics that are missing, and their .refused. It changes
// nothing that is there, and says which topics have another partition count
// than shape wants, because no later start can mend that. When it returns, every
// broker that answers knows what was made.
func (c *Client) Ensure(ctx context.Context, shape Shape) (made []string, err error) {
	have, err := there(ctx, c.cl)
	if err != nil {
		return nil, err
	}
	var odd []error
	var missing []topics.Spec
	for _, s := range everyTopic() {
		t, ok := have[s.In(c.region)]
		switch want := shape.Parts(s.Width); {
		case !ok:
			missing = append(missing, s)
		case int32(len(t.Partitions)) != want:
			odd = append(odd, fmt.Errorf("topic %s has %d partitions, wanted are %d: counts are fixed at a region's birth", *t.Topic, len(t.Partitions), want))
		}
	}
	for len(missing) > 0 {
		n, parts := 0, int32(0)
		for ; n < len(missing) && (n == 0 || parts+shape.Parts(missing[n].Width) <= atOnce); n++ {
			parts += shape.Parts(missing[n].Width)
		}
		if err := c.create(ctx, shape, missing[:n]...); err != nil {
			return made, err
		}
		for _, s := range missing[:n] {
			made = append(made, s.In(c.region))
		}
		missing = missing[n:]
	}
	if err := c.spread(ctx, made); err != nil {
		return made, err
	}
	return made, errors.Join(odd...)
}

// spread waits until each broker knows these topics: a creation is acknowledged by the
// controller, and reaches the others when it does.
func (c *Client) spread(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, spreadWithin)
	defer cancel()
	for _, b := range c.cl.DiscoveredBrokers() {
		for {
			have, err := there(ctx, b)
			if ctx.Err() != nil {
				return fmt.Errorf("wait until all brokers know the topics that were made: %w", ctx.Err())
			}
			if err != nil { // it is down, and will know before it serves again
				break
			}
			if !slices.ContainsFunc(names, func(n string) bool { _, ok := have[n]; return !ok }) {
				break
			}
			time.Sleep(spreadLook)
		}
	}
	return nil
}

// Regions are those that have every topic of the catalogue, sorted.
func (c *Client) Regions(ctx context.Context) ([]string, error) {
	have, err := there(ctx, c.cl)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(topics.All()), func(s topics.Spec) bool { return s.Kind == topics.Public })
	return topics.Regions(slices.Collect(maps.Keys(have)), own...), nil
}

// everyTopic lists the catalogue, each topic with its .refused.
func everyTopic() (all []topics.Spec) {
	for _, s := range topics.All() {
		all = append(all, s, s.Refused())
	}
	return all
}

// there asks a cluster, or one broker, for every topic. kadm answers from a cache that
// knows only the topics that this client has used.
func there(ctx context.Context, whom kmsg.Requestor) (map[string]kmsg.MetadataResponseTopic, error) {
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, whom)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	found := map[string]kmsg.MetadataResponseTopic{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			found[*t.Topic] = t
		}
	}
	return found, nil
}

// create makes topics in one request. One that is there by now is none of our business.
func (c *Client) create(ctx context.Context, shape Shape, specs ...topics.Spec) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, s := range specs {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = s.In(c.region), shape.Parts(s.Width), shape.Replication
		for k, v := range shape.Configs(s) {
			t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return fmt.Errorf("make topics: %w", err)
	}
	var errs []error
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			continue
		}
		if t.ErrorMessage != nil {
			err = fmt.Errorf("%w: %s", err, *t.ErrorMessage)
		}
		errs = append(errs, fmt.Errorf("make topic %s: %w", t.Topic, err))
	}
	return errors.Join(errs...)
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
