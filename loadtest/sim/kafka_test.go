//go:build synctests

package sim

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/topics"
)

const region = "sim-1"

// kafka is the one broker of all regions, and our own way to it.
type kafka struct {
	w     *world
	net   kfake.VirtualNetwork
	c     *kfake.Cluster
	cl    *kgo.Client
	specs map[string]topics.Spec // by physical name
}

func openKafka(w *world, parts int32) *kafka {
	k := &kafka{w: w, specs: map[string]topics.Spec{}}
	var many, single []string
	for _, s := range topics.All() {
		all := []topics.Spec{s}
		if s.Kind != topics.Table {
			all = append(all, s.Refused())
		}
		for _, s := range all {
			name := s.In(region)
			k.specs[name] = s
			if s.Width == topics.Single {
				single = append(single, name)
			} else {
				many = append(many, name)
			}
		}
	}
	slices.Sort(many)
	var err error
	k.c, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(k.net.Listen), kfake.SeedTopics(parts, many...), kfake.SeedTopics(1, single...))
	w.must(err)
	k.cl, err = kgo.NewClient(append(k.reach(k.dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	w.must(err)
	return k
}

func (k *kafka) close() {
	k.cl.Close()
	k.c.Close()
}

func (k *kafka) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return k.net.DialContext(ctx, network, addr)
}

func (k *kafka) reach(d func(context.Context, string, string) (net.Conn, error)) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(k.c.ListenAddrs()...), kgo.Dialer(d), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond)}
}

// send puts events on the bus, whatever the weather.
func (k *kafka) send(events ...topics.Event) {
	for _, e := range events {
		topic := e.Topic.In(cmp.Or(e.Region, region))
		part := e.Part
		if part < 0 {
			part = topics.KeyPart(e.Key, int32(len(k.c.PartitionInfos(topic))))
		}
		for {
			rec := &kgo.Record{Topic: topic, Key: e.Key, Value: e.Value, Partition: part, Timestamp: time.Now().Add(k.w.senders)}
			for name, v := range e.Headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
			}
			if k.cl.ProduceSync(context.Background(), rec).FirstErr() == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// weather makes the broker fail a share of produces, commits and look-ups of
// offsets for good: not written, not to be retried.
func (k *kafka) weather(share float64) (undo func()) {
	var undos []func()
	for i, key := range []kmsg.Key{kmsg.Produce, kmsg.OffsetCommit, kmsg.ListOffsets, kmsg.Fetch} {
		rng := rand.New(rand.NewPCG(k.w.seed, 10+uint64(i))) // the broker is one goroutine
		undos = append(undos, k.c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: -1,
			When: func(kmsg.Request) bool { return rng.Float64() < share }}).Remove)
	}
	return func() {
		for _, u := range undos {
			u()
		}
	}
}

// behind says which streams of a group are not committed to their end; empty: none.
func (k *kafka) behind(group string, streams []topics.Spec) (lag []string) {
	info := k.c.GroupInfo(group)
	for _, s := range streams {
		for _, p := range k.c.PartitionInfos(s.In(region)) {
			at := int64(0)
			if info != nil {
				at = max(0, info.Commits[s.In(region)][p.Partition].Offset)
			}
			if at < p.HighWatermark {
				lag = append(lag, sprintf("%s of %s/%d: %d of %d", group, s.Name, p.Partition, at, p.HighWatermark))
			}
		}
	}
	return lag
}

// reap does what a real broker's session timer does. kfake keeps a member for ever
// whose wire was cut while its join waited.
func (k *kafka) reap(group string, force bool, alive func(client string) bool) {
	info := k.c.GroupInfo(group)
	if info == nil {
		return
	}
	seen := map[string]int{}
	for _, m := range info.Members {
		seen[m.ClientID]++
	}
	for _, m := range info.Members {
		if !alive(m.ClientID) || seen[m.ClientID] > 1 || force && info.State != "Stable" {
			req, one := kmsg.NewPtrLeaveGroupRequest(), kmsg.NewLeaveGroupRequestMember()
			req.Group, one.MemberID = group, m.MemberID
			req.Members = append(req.Members, one)
			req.RequestWith(context.Background(), k.cl)
		}
	}
}
