// Package topics declares every topic of the house: its name, what it carries,
// what orders it, who writes and who reads it. catalogue.go is the list.
package topics

import (
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Kind says how long a topic's records are kept, and for whom they are.
type Kind int

const (
	Stream Kind = iota // kept for a week, read by groups
	Table              // the newest record of each key is kept for ever
	Public             // CloudEvents, kept for 30 days, one topic for all regions
)

// Width is a class of partition counts. All topics of one class have one count,
// fixed at a region's birth, because a room joins them by partition number.
type Width int

const (
	Wide   Width = iota // a region's topics
	Narrow              // public topics, and tables that follow their partitions
	Single              // one partition: a total order
)

// Spec is the untyped face of a topic.
type Spec struct {
	Name           string
	Kind           Kind
	Width          Width
	Compacted      bool          // Tables, and public topics that are tables too
	Keep           time.Duration // 0: for ever
	Key            string        // what it is keyed by, in words
	Writer, Reader string        // in words: stage names, "anyone"
	Why            string        // one line
}

// In returns the topic's physical name in a region: a region's topic is
// <region>.<name>, a public one is global.
func (s Spec) In(region string) string {
	if s.Kind == Public {
		return s.Name
	}
	return region + "." + s.Name
}

// Refused returns where records of s go that no retry can cure, and what operators
// say of them. Of a table it is kept for ever: a word that lets readers pass a row
// must live as long as the row.
func (s Spec) Refused() Spec {
	keep := week * 4
	if s.Compacted || s.Kind == Table {
		keep = 0
	}
	return Spec{Name: s.Name + ".refused", Kind: s.Kind, Width: s.Width, Keep: keep, Key: "as " + s.Name,
		Writer: "any runner", Reader: "holdfast refused", Why: "records of " + s.Name + " that no retry can cure"}
}

// Topic is a Spec that knows what it carries. T is a pointer to a generated message.
type Topic[T proto.Message] struct{ Spec }

// Raw is a topic whose records are not protobuf: CloudEvents, of any encoding.
type Raw struct{ Spec }

// Event is an encoded message on its way to a topic.
type Event struct {
	Topic      Spec
	Region     string // empty: the stage's own
	Key, Value []byte // Value is nil in a tombstone
	Part       int32  // the partition, or -1 to let the key decide
	Headers    map[string]string

	took  time.Duration // see Took
	timed bool
	trace string // see Trace
	run   *schemas.Run
}

// Event encodes v for t under key. A table's key is its row's name.
func (t Topic[T]) Event(key []byte, v T) Event {
	b, err := proto.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("topics: encode %s: %v", t.Name, err)) // invalid UTF-8 in a string field: our bug
	}
	e := Event{Topic: t.Spec, Key: key, Value: b, Part: -1}
	if of, ok := any(v).(interface{ GetRun() *schemas.Run }); ok {
		e = e.Of(of.GetRun())
		e.run = of.GetRun()
	}
	return e
}

// Run is that of the message in e, or nil: of one that is of no run, or of several.
func (e Event) Run() *schemas.Run { return e.run }

// Gone is the tombstone of a table's row.
func (t Topic[T]) Gone(key []byte) Event { return Event{Topic: t.Spec, Key: key, Part: -1} }

// Event is a public event, already encoded.
func (t Raw) Event(key, value []byte, headers map[string]string) Event {
	return Event{Topic: t.Spec, Key: key, Value: value, Headers: headers, Part: -1}
}

// To sends e to one partition, whatever its key: for rows that are routed by
// what they hold and compacted by what they are.
func (e Event) To(part int32) Event { e.Part = part; return e }

// Of makes e part of the trace of a run; what carries its run is so by itself.
func (e Event) Of(run *schemas.Run) Event { e.trace = run.GetTraceparent(); return e }

// Trace is the W3C trace context of the run that e is of, or empty.
func (e Event) Trace() string { return e.trace }

// For sends e to the topic of another region than the stage's.
func (e Event) For(region string) Event { e.Region = region; return e }

// Decode is the inverse of Event, for values that come from outside.
func (t Topic[T]) Decode(b []byte) (T, error) {
	var zero T
	v := zero.ProtoReflect().Type().New().Interface().(T)
	if err := proto.Unmarshal(b, v); err != nil {
		return zero, fmt.Errorf("decode %s: %w", t.Name, err)
	}
	if of, ok := any(v).(interface{ Sound() error }); ok {
		if err := of.Sound(); err != nil {
			return zero, fmt.Errorf("decode %s: %w", t.Name, err)
		}
	}
	return v, nil
}

// KeyPart returns the partition of a key among n: murmur2, as Java and this
// house hash where no partition is named.
func KeyPart(key []byte, n int32) int32 { return int32((murmur2(key) & 0x7fffffff) % uint32(n)) }

// ChunkPart returns the partition of a chunk among n: the first four bytes of
// its id, so that one room decides each chunk. id must have 4 bytes or more.
func ChunkPart(id []byte, n int32) int32 {
	return int32(binary.BigEndian.Uint32(id) % uint32(n))
}
