package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readyWithin allows for a machine with other work; a start takes 3 s.
const readyWithin = 90 * time.Second

// WaitReady returns when each running broker answers for itself and sees exactly the running
// ones, and every replica on them is in sync. After Kill, it waits until the loss is noticed:
// until then the dead one counts, and may not come back.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	late := time.After(readyWithin)
	for i, n := range c.nodes {
		for err := errors.New("not asked"); n.proc != nil && err != nil; {
			select {
			case <-time.After(50 * time.Millisecond):
				err = c.ready(i)
			case <-n.gone:
				c.t.Fatalf("kafkatest: broker %d ended by itself", i)
			case <-late:
				c.t.Fatalf("kafkatest: broker %d is not ready: %v", i, err)
			}
		}
	}
}

// ready asks broker i alone: a fresh client knows no other.
func (c *Cluster) ready(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(c.nodes[i].addr))
	if err != nil {
		return err
	}
	defer adm.Close()
	meta, err := adm.Metadata(ctx)
	if err != nil {
		return err
	}
	for j, n := range c.nodes {
		if up := slices.Contains(meta.Brokers.NodeIDs(), int32(j)); up != (n.proc != nil) {
			return fmt.Errorf("it sees broker %d up: %t", j, up)
		}
	}
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		for _, r := range p.Replicas {
			if c.nodes[r].proc != nil && !slices.Contains(p.ISR, r) {
				err = fmt.Errorf("broker %d lags in %s/%d", r, p.Topic, p.Partition)
			}
		}
	})
	return err
}

// Admin asks the cluster, until the test ends. It is one client, for all who ask.
func (c *Cluster) Admin() *kadm.Client { return c.admin() }

func (c *Cluster) newAdmin() *kadm.Client {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(c.Seeds()...))
	if err != nil {
		panic(fmt.Sprint("kafkatest: ", err)) // of addresses that we made
	}
	c.t.Cleanup(adm.Close)
	return adm
}
