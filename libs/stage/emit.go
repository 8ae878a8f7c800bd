package stage

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/holdfast-backup/holdfast/topics"
)

func (r *runner) declared(e topics.Event) {
	if !r.writes[e.Topic.Name] {
		panic(fmt.Sprintf("stage: %s emits %s, which it does not declare", r.stage.Name, e.Topic.Name))
	}
}

func (m *member) records(events []topics.Event, from origin) []*kgo.Record {
	if len(events) == 0 {
		return nil
	}
	shared := m.run.headers(from)
	recs := make([]*kgo.Record, len(events))
	for i, e := range events {
		headers := shared[:len(shared):len(shared)]
		if of := from.of(e); of != nil {
			headers = m.run.headers(m.run.timed(*of, e))
		}
		if e.Topic.Kind != topics.Public {
			headers = append(headers, kgo.RecordHeader{Key: topics.HeaderRegion, Value: []byte(cmp.Or(e.Region, m.run.env.Region))})
		}
		for k, v := range e.Headers {
			headers = append(headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		recs[i] = &kgo.Record{Topic: e.Topic.In(cmp.Or(e.Region, m.run.env.Region)), Key: e.Key, Value: e.Value,
			Headers: headers, Partition: e.Part}
	}
	return recs
}

// emit writes recs, then calls done once, with the first error if any was lost.
func (m *member) emit(ctx context.Context, recs []*kgo.Record, done func(error)) {
	if len(recs) == 0 {
		done(nil)
		return
	}
	m.flying.Add(1)
	var mu sync.Mutex
	var lost error
	left := len(recs)
	for _, rec := range recs {
		m.cl.Produce(ctx, rec, func(rec *kgo.Record, err error) {
			mu.Lock()
			if err != nil && lost == nil {
				lost = fmt.Errorf("emit %s: %w", rec.Topic, err)
			}
			left--
			last := left == 0
			mu.Unlock()
			if last {
				done(lost)
				m.flying.Add(-1)
				if lost != nil && m.life.Err() == nil {
					m.spoiled()
				}
			}
		})
	}
}

// spoiled asks, after a lost emit, whether the client can write at all. A
// broker that refuses it a producer id (as one with a full disk does) is not
// asked again by the same client: that ends the membership, and a new client begins.
func (m *member) spoiled() {
	if !m.asking.CompareAndSwap(false, true) {
		return
	}
	m.alive.Go(func() {
		defer m.asking.Store(false)
		ctx, cancel := context.WithTimeout(m.life, time.Second)
		defer cancel()
		if _, _, err := m.cl.ProducerID(ctx); err != nil && ctx.Err() == nil {
			m.end(fmt.Errorf("producer: %w", err))
		}
	})
}

// partitioner takes the partition that an event names, else the key's.
type partitioner struct{}

func (partitioner) ForTopic(string) kgo.TopicPartitioner { return partitioner{} }

func (partitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (partitioner) Partition(rec *kgo.Record, n int) int {
	if rec.Partition >= 0 {
		return int(rec.Partition)
	}
	return int(topics.KeyPart(rec.Key, int32(n)))
}
