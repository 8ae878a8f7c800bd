package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Difference is a setting of a topic that is not as the catalogue wants it.
type Difference struct {
	Topic, Setting string
	Have, Want     string
}

func (d Difference) String() string {
	return fmt.Sprintf("topic %s: %s is %s, wanted is %s", d.Topic, d.Setting, d.Have, d.Want)
}

// replicas is the one difference that is no setting: it takes a reassignment.
const replicas = "replication factor"

// Differ says how the topics that are there differ from shape, in the catalogue's
// order. Partition counts are Ensure's.
func (c *Client) Differ(ctx context.Context, shape Shape) (all []Difference, err error) {
	have, err := there(ctx, c.cl)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range everyTopic() {
		if _, ok := have[s.In(c.region)]; ok {
			names = append(names, s.In(c.region))
		}
	}
	described, err := kadm.NewClient(c.cl).DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("settings of topics: %w", err)
	}
	for _, s := range everyTopic() {
		name := s.In(c.region)
		t, ok := have[name]
		if !ok {
			continue
		}
		for _, p := range t.Partitions {
			if n := len(p.Replicas); shape.Replication > 0 && n != int(shape.Replication) {
				all = append(all, Difference{name, replicas, strconv.Itoa(n), strconv.Itoa(int(shape.Replication))})
				break
			}
		}
		r, err := described.On(name, nil)
		if err == nil {
			err = r.Err
		}
		if err != nil {
			return all, fmt.Errorf("settings of topic %s: %w", name, err)
		}
		all = append(all, differ(name, r, shape.Configs(s))...)
	}
	return all, nil
}

func differ(topic string, r kadm.ResourceConfig, want map[string]string) (all []Difference) {
	have := map[string]string{}
	for _, c := range r.Configs {
		have[c.Key] = c.MaybeValue()
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if have[k] != want[k] {
			all = append(all, Difference{topic, k, have[k], want[k]})
		}
	}
	return all
}

// Settle sets what Differ found as it is wanted, and returns what it can't set.
func (c *Client) Settle(ctx context.Context, all []Difference) (left []Difference, err error) {
	adm := kadm.NewClient(c.cl)
	var errs []error
	for _, d := range all {
		if d.Setting == replicas {
			left = append(left, d)
			continue
		}
		r, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: d.Setting, Value: &d.Want}}, d.Topic)
		if err == nil {
			_, err = r.On(d.Topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
		}
		if err != nil {
			left = append(left, d)
			errs = append(errs, fmt.Errorf("set %s of topic %s: %w", d.Setting, d.Topic, err))
		}
	}
	return left, errors.Join(errs...)
}

// offsetsKept is how long a stage may be stopped and still know where it was: a year.
// Kafka's default is a week; a stage that stood longer reads its streams anew, which
// is correct and slow.
const offsetsKept = 365 * 24 * time.Hour

// Advice says which settings of the brokers themselves Holdfast wants otherwise. Only
// whoever runs them can change those.
func (c *Client) Advice(ctx context.Context) (said []string, err error) {
	adm := kadm.NewClient(c.cl)
	found, err := adm.ListBrokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list brokers: %w", err)
	}
	described, err := adm.DescribeBrokerConfigs(ctx, found.NodeIDs()...)
	if err != nil {
		return nil, fmt.Errorf("settings of brokers: %w", err)
	}
	for _, r := range described {
		if r.Err != nil {
			return said, fmt.Errorf("settings of broker %s: %w", r.Name, r.Err)
		}
		for _, c := range r.Configs {
			v := c.MaybeValue()
			n, _ := strconv.ParseInt(v, 10, 64)
			switch {
			case c.Key == "offsets.retention.minutes" && n < int64(offsetsKept/time.Minute):
				said = append(said, fmt.Sprintf("broker %s: %s is %s, wanted is %d: a stage that stands still for longer begins its streams anew", r.Name, c.Key, v, offsetsKept/time.Minute))
			case c.Key == "offsets.topic.replication.factor" && n < 3 && len(found) >= 3:
				said = append(said, fmt.Sprintf("broker %s: %s is %s, wanted is 3: offsets die with a broker", r.Name, c.Key, v))
			case c.Key == "min.insync.replicas" && n < 2 && len(found) >= 3:
				said = append(said, fmt.Sprintf("broker %s: %s is %s, wanted is 2: committed offsets may be on one broker alone", r.Name, c.Key, v))
			case c.Key == "auto.create.topics.enable" && v != "false":
				said = append(said, fmt.Sprintf("broker %s: %s is %s, wanted is false: a topic of a mistyped name, or made before apply, has the wrong settings", r.Name, c.Key, v))
			}
		}
	}
	return said, nil
}
