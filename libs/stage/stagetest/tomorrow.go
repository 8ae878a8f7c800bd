package stagetest

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-backup/holdfast/libs/stage"
)

// Tomorrow has clients write as those of a newer program may, to be appended to what
// Connect returns: each message of a region's topics has a field that nobody knows
// yet, and each record a header.
func Tomorrow(region string) stage.Reach { return stage.Reach{kgo.WithHooks(tomorrow{region + "."})} }

type tomorrow struct{ own string }

// OnProduceRecordBuffered comes before a record's size and partition are known.
func (t tomorrow) OnProduceRecordBuffered(r *kgo.Record) {
	r.Headers = append(slices.Clip(r.Headers), kgo.RecordHeader{Key: "tomorrow", Value: []byte{1}})
	if strings.HasPrefix(r.Topic, t.own) && r.Value != nil {
		r.Value = OfTomorrow(r.Value)
	}
}

// OfTomorrow is an encoded message with a field that nobody knows yet.
func OfTomorrow(message []byte) []byte {
	b := protowire.AppendTag(slices.Clip(message), 9999, protowire.BytesType)
	return protowire.AppendString(b, "of tomorrow")
}
