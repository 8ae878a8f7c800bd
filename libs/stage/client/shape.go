package client

import (
	"strconv"
	"time"

	"github.com/holdfast-backup/holdfast/topics"
)

// Shape is how topics are made. Partition counts are fixed at a region's birth.
type Shape struct {
	Wide, Narrow int32
	Replication  int16 // -1: the brokers' default
	// InSync copies must have a record before it is acknowledged; 0: the brokers'
	// default, which is 1, and with 1 the crash of one broker loses what it
	// acknowledged.
	InSync int16
	// Small bounds logs for one machine, whose broker knows no compaction.
	Small bool
}

// OneMachine is small on purpose: four rooms a stage fill two to eight cores.
var OneMachine = Shape{Wide: 4, Narrow: 4, Replication: 1, Small: true}

// Cluster is a region's: 64 rooms a stage. One of three copies may be down, and
// each record is still on two.
var Cluster = Shape{Wide: 64, Narrow: 16, Replication: 3, InSync: 2}

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

// Bounds of a region's logs.
const (
	// compactWithin bounds what a recall reads beside live rows: a day of them.
	compactWithin = 24 * time.Hour
	// tombstones are kept so long once their log is compacted: an index may be as
	// old when it comes back (PROTOCOLS: two epochs of a day are thrown away).
	tombstones = 24 * time.Hour
	// recordBytes is Kafka's own default. Our largest record is a part of a file's
	// page map, 512 KiB; a client's batch has at most 1,000,012 bytes.
	recordBytes = 1<<20 + 12
)

// Configs are the settings of a topic in this shape.
func (s Shape) Configs(t topics.Spec) map[string]string {
	if s.Small {
		return s.small(t)
	}
	c := map[string]string{
		"cleanup.policy":    "delete",
		"retention.ms":      keep(t),
		"retention.bytes":   "-1",
		"max.message.bytes": strconv.Itoa(recordBytes),
		// The time of a client would let a clock that is ahead be refused by the
		// broker, and the records of one that is behind be deleted as old.
		"message.timestamp.type": "LogAppendTime",
	}
	if s.InSync > 0 {
		c["min.insync.replicas"] = strconv.Itoa(int(s.InSync))
	}
	if t.Compacted {
		c["cleanup.policy"] = "compact"
		c["max.compaction.lag.ms"], c["delete.retention.ms"] = millis(compactWithin), millis(tombstones)
	}
	return c
}

func (s Shape) small(t topics.Spec) map[string]string {
	c := map[string]string{"retention.ms": keep(t), "segment.bytes": strconv.Itoa(smallSegment)}
	c["cleanup.policy"] = "delete" // compaction there can lose keys: tables are rolled at a start instead
	limit, special := smallBytes[t.Name]
	switch {
	case t.Name == topics.ChunksStored.Name:
		c["retention.ms"] = millis(24 * time.Hour)
	case special:
	case t.Keep == 0:
		return c
	case t.Kind == topics.Public:
		limit = smallPublic
	default:
		limit = smallStream
	}
	c["retention.bytes"] = strconv.FormatInt(max(limit/int64(s.Parts(t.Width)), smallSegment), 10)
	return c
}

func keep(t topics.Spec) string {
	if t.Keep == 0 {
		return "-1"
	}
	return millis(t.Keep)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Topics are the physical names of all topics that a region uses, public ones too.
func Topics(region string) (names []string) {
	for _, s := range everyTopic() {
		names = append(names, s.In(region))
	}
	return names
}
