package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/stage/kafkatest"
	"github.com/holdfast-backup/holdfast/topics"
)

// small is the shape of the tests: enough rooms for three processes a stage.
var small = []string{"topics", "apply", "--partitions", "6", "--public-partitions", "3"}

// topicsApply: what "topics apply" makes on three brokers is what the catalogue
// says, the same twice and beside another region; what differs is said, and set
// only when that was asked; another partition count is refused.
func topicsApply(t *testing.T, c *kafkatest.Cluster, binary string) {
	r := newRegion(t, c, binary, "first")
	began := time.Now()
	if made := strings.Count(r.done(small...), "\n"); made != 2*len(topics.All()) {
		t.Errorf("made %d topics, want each of %d and its .refused", made, len(topics.All()))
	}
	t.Logf("topics apply: %d topics, 6 partitions, 3 copies: %s", 2*len(topics.All()), time.Since(began).Round(time.Millisecond))
	r.asDeclared("first", 6)
	if out := r.done(small...); out != "" {
		t.Errorf("the second time made %s", out)
	}
	second := newRegion(t, c, binary, "second")
	public := 0
	for _, s := range topics.All() {
		if s.Kind == topics.Public {
			public++
		}
	}
	if made := strings.Count(second.done("topics", "apply", "--partitions", "2", "--public-partitions", "3"), "\n"); made != 2*(len(topics.All())-public) {
		t.Errorf("the second region made %d topics, and the public ones are there", made)
	}
	second.asDeclared("second", 2)

	table := topics.MachinesTended.In("first")
	r.set(table, "cleanup.policy", "delete")
	r.set(table, "min.insync.replicas", "1")
	r.until("a table that loses its rows to be named", func() string {
		out, errs, code := r.holdfast(small...)
		if code == 1 && strings.Contains(out, table+": cleanup.policy is delete, wanted is compact") && strings.Contains(out, table+": min.insync.replicas is 1, wanted is 2") {
			return ""
		}
		return fmt.Sprintf("exit %d: %s%s", code, out, errs)
	})
	r.until("what differs to be set", func() string { // a broker that does not know of it yet sees nothing to set
		r.done(append(small, "--settings")...)
		return r.undeclared("first", 6)
	})
	if out, _, code := r.holdfast(append(small, "--replication", "2", "--in-sync", "2")...); code != 1 || !strings.Contains(out, "replication factor is 3, wanted is 2") {
		t.Errorf("other copies: exit %d: %s", code, out)
	}
	if _, errs, code := r.holdfast("topics", "apply", "--partitions", "8", "--public-partitions", "3"); code != 1 || !strings.Contains(errs, "has 6 partitions, wanted are 8") {
		t.Errorf("another partition count: exit %d: %s", code, errs)
	}
	r.asDeclared("first", 6)
	r.clocks()
}

// asDeclared wants what the brokers say of each topic to be what the catalogue says.
// A setting that was changed reaches a broker when it does.
func (r *region) asDeclared(name string, wide int) {
	r.Helper()
	r.until("topics as the catalogue declares them", func() string { return r.undeclared(name, wide) })
}

func (r *region) undeclared(name string, wide int) (said string) {
	r.Helper()
	adm := r.brokers.Admin()
	found, err := adm.ListTopics(r.Context(), client.Topics(name)...)
	r.must(err)
	own := r.settings(adm, name)
	for _, plain := range topics.All() {
		for _, s := range []topics.Spec{plain, plain.Refused()} {
			d, parts := found[s.In(name)], map[topics.Width]int{topics.Wide: wide, topics.Narrow: 3, topics.Single: 1}[s.Width]
			if len(d.Partitions) != parts || d.Partitions.NumReplicas() != 3 {
				said += fmt.Sprintf("%s: %d partitions of %d copies, want %d of 3; ", s.In(name), len(d.Partitions), d.Partitions.NumReplicas(), parts)
			}
			want := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime"}
			switch {
			case strings.HasSuffix(s.Name, ".refused") && plain.Keep == 0: // with what operators said of rows that are for ever
				want["retention.ms"] = "-1"
			case strings.HasSuffix(s.Name, ".refused"):
				want["retention.ms"] = "2419200000"
			case s.Name == topics.EpochsTurned.Name:
				want["retention.ms"] = "-1"
			case s.Kind == topics.Table || s.Compacted:
				want["retention.ms"], want["cleanup.policy"], want["max.compaction.lag.ms"], want["delete.retention.ms"] = "-1", "compact", "86400000", "86400000"
			case s.Kind == topics.Public:
				want["retention.ms"] = "2592000000"
			}
			for k, v := range want {
				if got := own[s.In(name)][k]; got != v {
					said += fmt.Sprintf("%s: %s is %q, want %q; ", s.In(name), k, got, v)
				}
			}
		}
	}
	return said
}

// settings are those of each topic's own, not the defaults of the brokers.
func (r *region) settings(adm *kadm.Client, name string) map[string]map[string]string {
	r.Helper()
	all, err := adm.DescribeTopicConfigs(r.Context(), client.Topics(name)...)
	r.must(err)
	own := map[string]map[string]string{}
	for _, t := range all {
		own[t.Name] = map[string]string{}
		for _, c := range t.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				own[t.Name][c.Key] = c.MaybeValue()
			}
		}
	}
	return own
}

func (r *region) set(topic string, pairs ...string) {
	r.Helper()
	var to []kadm.AlterConfig
	for i := 0; i < len(pairs); i += 2 {
		to = append(to, kadm.AlterConfig{Name: pairs[i], Value: &pairs[i+1]})
	}
	resp, err := r.brokers.Admin().AlterTopicConfigs(r.Context(), to, topic)
	r.must(err)
	for _, t := range resp {
		r.must(t.Err)
	}
}

// clocks: a process whose clock is days ahead is not refused, and what one writes
// whose clock is behind is not old.
func (r *region) clocks() {
	r.Helper()
	topic := topics.BackupsLeased.In(r.name)
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers.Seeds()...))
	r.must(err)
	defer cl.Close()
	for _, off := range []time.Duration{48 * time.Hour, -40 * 24 * time.Hour} {
		rec := &kgo.Record{Topic: topic, Key: []byte("k"), Timestamp: time.Now().Add(off)}
		if err := cl.ProduceSync(r.Context(), rec).FirstErr(); err != nil {
			r.Errorf("a clock that is off by %s: %v", off, err)
		}
	}
	n := 0
	for rec, err := range r.kafka.Read(r.Context(), topics.BackupsLeased.Spec, 0) {
		r.must(err)
		if n++; time.Since(rec.Time).Abs() > time.Minute {
			r.Errorf("a record of %s, by the broker's clock", rec.Time)
		}
	}
	if n != 2 {
		r.Errorf("%d of 2 records are there", n)
	}
}
