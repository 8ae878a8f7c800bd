package stage

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	logEnd   = -1 // as the protocol names them
	logStart = -2
)

// boundary asks for one end of a log until it is told, or the context ends.
func (m *member) boundary(ctx context.Context, topic string, part int32, which int64) (int64, bool) {
	for retry := patience(10 * time.Second); ctx.Err() == nil; pause(ctx, retry.NextBackOff()) {
		at, err := listOffset(ctx, m.cl, topic, part, which)
		if err == nil {
			return at, true
		}
		m.run.tell(Note{Kind: Trouble, Topic: topic, Part: part, Err: err})
	}
	return 0, false
}

func listOffset(ctx context.Context, cl *kgo.Client, topic string, part int32, which int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt, rp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = part, which
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, fmt.Errorf("bounds of %s/%d: %w", topic, part, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("bounds of %s/%d: no answer", topic, part)
	}
	p := resp.Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// hollow is Solid for the runner, which tells and goes on.
func (r *runner) hollow(ctx context.Context, cl *kgo.Client, topic string, id [16]byte, part int32, at, end int64) int64 {
	to, err := Solid(ctx, cl, topic, id, part, at, end)
	if err != nil {
		r.tell(Note{Kind: Trouble, Topic: topic, Part: part, Offset: to, Err: err})
	}
	return to
}

// Solid returns the first offset from at on that may hold a record, or end. A client
// tells no position without a record, so who waits for the end of a log whose last
// records were compacted away, or are a transaction's marker, would wait for ever.
func Solid(ctx context.Context, cl *kgo.Client, topic string, id [16]byte, part int32, at, end int64) (int64, error) {
	for at < end {
		p, err := fetch(ctx, cl, topic, id, part, at)
		if err != nil {
			return at, err
		}
		got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: at, Topic: topic, Partition: part},
			p, kgo.DefaultDecompressor(), nil)
		switch {
		case len(got.Records) > 0 || got.Err != nil:
			return at, nil
		case len(p.RecordBatches) == 0 && p.HighWatermark >= end:
			return end, nil
		case next <= at:
			return at, nil
		}
		at = next
	}
	return at, nil
}

func fetch(ctx context.Context, cl *kgo.Client, topic string, id [16]byte, part int32, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	leader, _, err := cl.PartitionLeader(topic, part)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.SessionEpoch = -1, 1<<20, -1
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = part, at, 1<<20
	rt.Topic, rt.TopicID, rt.Partitions = topic, id, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	answer, err := cl.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("fetch %s/%d@%d: no answer", topic, part, at)
	}
	p := &resp.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}
